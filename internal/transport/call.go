package transport

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/lease/scripts"
)

// scriptOf returns the script of a verb.
func scriptOf(v protocol.Verb) scripts.Verb {
	return [...]scripts.Verb{protocol.Release: scripts.Release, protocol.Renew: scripts.Renew, protocol.Acquire: scripts.Acquire}[v]
}

// A request is one call of a batch on its way to Redis, as the commands that carry it out.
type request struct {
	keys  *scripts.Keys
	batch *protocol.Batch
	call  *protocol.Call
	zrem  *redis.IntCmd // removes the ids of a plain release; sent before cmd
	cmd   redis.Cmder   // the script; nil: zrem does it all, or the joint

	joint   *joint // of which it is a part; nil: of none
	alone   bool   // it may be part of none
	again   bool   // the joint has left it: it has to go alone
	refused bool   // because the server takes no joint
}

// A room is for the commands of one exchange, and for their arguments, one command after the other. The next exchange uses it
// again.
type room struct {
	args     []any
	commands []redis.Cmder
}

// cut returns what has been appended to the arguments since there were from of them: those of one command.
func (r *room) cut(from int) []any { return r.args[from:len(r.args):len(r.args)] }

// reset keeps what an exchange usually needs.
func (r *room) reset() {
	const most = 1 << 14
	clear(r.args)
	clear(r.commands)
	r.args, r.commands = r.args[:0], r.commands[:0]
	if cap(r.args) > most {
		r.args = nil
	}
	if cap(r.commands) > most {
		r.commands = nil
	}
}

// A processor runs one command: a client, or one of its connections.
type processor interface {
	Process(ctx context.Context, cmd redis.Cmder) error
}

// execute runs requests in order and fills in their replies. A server that does not know a script says
// NOSCRIPT; the calls then go on from the first that failed, in order, and carry the source. Those that
// run twice by that find their work done: every script is safe against it.
func execute(ctx context.Context, client processor, pipe redis.Pipeliner, requests []request, replicas *acknowledgement, room *room) {
	const passes = 3 // a server may restart between two of them
	defer room.reset()
	for pass := 1; ; pass++ {
		join(requests)
		var loaded [protocol.Acquire + 1]bool
		loadedMany := false
		for i := range requests {
			r := &requests[i]
			if j := r.joint; j != nil {
				r.zrem, r.cmd = nil, nil // of a pass before, when it was in none
				if j.leads(r) {
					j.prepare(ctx, pass > 1 && !loadedMany, room)
					loadedMany = true
				}
				continue
			}
			if r.plainRelease(ctx, room) {
				continue
			}
			v := r.call.Verb
			source := pass > 1 && !loaded[v]
			loaded[v] = true
			r.cmd = r.command(ctx, source, room)
		}
		var whole error // why no command was sent: its connection could not be made, or not set up
		if len(requests) == 1 && requests[0].zrem == nil && replicas == nil {
			_ = client.Process(ctx, requests[0].cmd)
		} else {
			clear(room.commands) // of the pass before
			room.commands = room.commands[:0]
			for i := range requests {
				r := &requests[i]
				if r.zrem != nil {
					room.commands = append(room.commands, r.zrem)
				}
				if r.cmd != nil {
					room.commands = append(room.commands, r.cmd)
				}
				if r.joint != nil && r.joint.leads(r) {
					room.commands = append(room.commands, r.joint.cmd)
				}
			}
			if replicas != nil {
				room.commands = append(room.commands, replicas.command(ctx))
			}
			_ = pipe.BatchProcess(ctx, room.commands...)
			_, err := pipe.Exec(ctx)
			if replicas != nil {
				replicas.learn()
			}
			if err != nil && !slices.ContainsFunc(requests, func(r request) bool { return r.trouble() != nil }) {
				whole = err
			}
		}
		missing := -1
		for i := range requests {
			requests[i].finish(whole)
			if err := requests[i].call.Failure.Err; missing < 0 && err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
				missing = i
			}
		}
		if missing < 0 || pass == passes {
			return
		}
		requests = requests[missing:]
	}
}

// command is the call as Redis wants it: with the script's name, or with its source.
func (r *request) command(ctx context.Context, source bool, room *room) redis.Cmder {
	c, k := r.call, r.keys
	from := len(room.args)
	args := k.Command(room.args, scriptOf(c.Verb), source, c.Callers > 0, c.Slots)
	if c.Capacity > 0 {
		args[len(args)-1] = &c.Capacity
	}
	if c.TTL > 0 {
		args[len(args)-2] = &c.TTL
	}
	switch c.Verb {
	case protocol.Release:
		args = append(args, scripts.ReleaseFlags(c.MayBeQueued, c.Promote, len(c.Grants) == 0))
	case protocol.Acquire:
		flags := scripts.AcquireFlags(c.Refresh, c.Again || c.Slots || c.Permits > len(c.Grants), c.Strict, c.Narrow, c.Stood, c.Callers)
		args = scripts.AppendAcquire(args, &r.batch.NotAfter, flags, &c.AfterPlace)
	}
	for i, g := range c.Grants {
		if r.zrem != nil {
			break // which has taken them out
		}
		switch {
		case c.Verb != protocol.Acquire:
			args = append(args, &g.ID)
		case c.Ages[i] == protocol.Again:
			args = scripts.AppendAgain(args, &g.ID)
		default:
			args = scripts.AppendRequest(args, &g.ID, age(c, i))
		}
	}
	room.args = args
	return routed(redis.NewIntSliceCmd(ctx, room.cut(from)...))
}

// routed tells go-redis that nothing has to be looked up to route cmd by its keys. A cluster client asks a
// node that it chooses at random for the table of all COMMANDs before the first command that it sends alone;
// where that node hangs, all others wait for it.
func routed[C redis.Cmder](cmd C) C {
	cmd.SetStepCount(1)
	return cmd
}

// plainRelease removes the ids of a release with a ZREM, at a fifth of what a script costs Redis. There are three cases:
//
//   - An acquire follows in the same batch: ZREM only. The acquire promotes.
//   - Nobody seems to wait: ZREM, and EXISTS of the queue. If the queue exists, the next batch promotes.
//   - Otherwise: ZREM, then release.lua without ids, which promotes.
//
// It reports whether no script has to run. It does nothing for a release that is not plain: release.lua has the ids.
//
// The third case is worth it too. Redis writes the answers of clients in the reverse order of their first byte, and the
// answer to the ZREM is the releasing client's first: the notification to the waiter leaves before that client's answers.
func (r *request) plainRelease(ctx context.Context, room *room) (done bool) {
	r.zrem, r.cmd = nil, nil
	c, k := r.call, r.keys
	if !c.Plain() {
		return false
	}
	from := len(room.args)
	room.args = append(room.args, "zrem", k.Holders())
	for _, g := range c.Grants {
		room.args = append(room.args, &g.ID)
	}
	r.zrem = redis.NewIntCmd(ctx, room.cut(from)...)
	if c.Look {
		from := len(room.args)
		room.args = append(room.args, "exists", k.Queue())
		r.cmd = redis.NewIntCmd(ctx, room.cut(from)...)
	}
	return !c.Promote
}

// age is for how many µs the i-th request has waited; nil: it does not wait.
func age(c *protocol.Call, i int) *int64 {
	if c.Ages[i] == protocol.Once {
		return nil
	}
	return &c.Ages[i]
}

// finish takes the commands' answers over. whole is why all commands failed, where the client says so for the pipeline
// alone; nil: it does not.
func (r *request) finish(whole error) {
	c := r.call
	if j := r.joint; j != nil {
		if j.leads(r) {
			j.finish(whole)
		}
		return
	}
	if r.zrem != nil {
		c.Removed += int(r.zrem.Val()) // a second pass finds nothing any more
	}
	err := cmp.Or(whole, r.trouble())
	if err != nil && r.zrem != nil && r.zrem.Err() == nil && isTransient(err) {
		// The permits are back. Only the server cannot promote now: its slot moves, or its memory is full.
		c.Unpromoted, c.Failure = true, protocol.Failure{}
		return
	}
	if err != nil {
		err = explain(scriptOf(c.Verb), err)
	}
	switch cmd := r.cmd.(type) {
	case *redis.IntSliceCmd:
		if err == nil {
			err = take(c, cmd.Val())
		}
	case *redis.IntCmd:
		c.More = err == nil && cmd.Val() > 0
	}
	c.Failure = failureOf(err)
}

// take reads a script's reply.
func take(c *protocol.Call, reply []int64) error {
	var status scripts.Status
	switch c.Verb {
	case protocol.Release:
		var err error
		if status, err = scripts.ReleaseReply(reply); err != nil {
			return err
		}
	case protocol.Renew:
		r, err := scripts.RenewReply(reply)
		if err != nil {
			return err
		}
		status, c.Server, c.Expiry, c.Lost = r.Status, r.ServerTime, r.Expiry, r.Lost
	case protocol.Acquire:
		var weight func(int) int
		if c.Slots {
			weight = func(i int) int { return int(c.Grants[i].Weight) }
		}
		r, err := scripts.AcquireReply(reply, len(c.Grants), weight)
		if err != nil {
			return err
		}
		status, c.Server = r.Status, r.ServerTime
		takeAnswers(c, &r)
	}
	c.Late, c.Muted = status.Has(scripts.Late), status.Has(scripts.Muted)
	c.More = c.More || status.Has(scripts.More) // a joint renewal may have freed what this one no longer finds
	return nil
}

func takeAnswers(c *protocol.Call, r *scripts.Acquired) {
	c.Answers = c.Answers[:0]
	if !r.Status.Has(scripts.Late) {
		if cap(c.Answers) < len(c.Grants) {
			c.Answers = make([]protocol.Answer, 0, len(c.Grants))
		}
		for i := range c.Grants {
			a := r.Answer(i)
			c.Answers = append(c.Answers, protocol.Answer{Expiry: a.Expiry, Token: a.Token})
		}
	}
	c.SlotsOf = nil
	if c.Slots && len(c.Answers) > 0 {
		all := make([][]int, len(c.Grants))
		for i, g := range c.Grants {
			if c.Answers[i].Expiry > 0 {
				all[i] = r.NextSlots(int(g.Weight))
			}
		}
		c.SlotsOf = &all
	}
	c.Occupancy = nil
	if d, full := r.Details(); full {
		c.Occupancy = &protocol.Occupancy{
			Capacity: int(d.Capacity), Held: int(d.Held), Waiting: int(d.Waiting), First: d.First,
			OtherCapacity: int(d.OtherCapacity), OtherTTL: time.Duration(d.OtherTTL) * time.Millisecond,
		}
	}
}

// trouble is the first error of the commands.
func (r *request) trouble() error {
	if r.zrem != nil && r.zrem.Err() != nil {
		return r.zrem.Err()
	}
	if r.joint != nil {
		return r.joint.cmd.Err()
	}
	if r.cmd != nil {
		return r.cmd.Err()
	}
	return nil
}
