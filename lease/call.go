package lease

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease/scripts"
)

// script is the verb's.
func (v verb) script() scripts.Verb {
	return [...]scripts.Verb{release: scripts.Release, renew: scripts.Renew, acquire: scripts.Acquire}[v]
}

// An outgoing call knows whose it is.
type outgoing struct {
	conversation *conversation
	exchange     *exchange
	call         *call
	zrem         *redis.IntCmd // a plain release: takes the ids out, before cmd
	cmd          redis.Cmder   // the script, or what a plain release does instead; nil: nothing
}

// A processor runs one command: a client, or one of its connections.
type processor interface {
	Process(ctx context.Context, cmd redis.Cmder) error
}

// execute runs calls in order and fills in their replies. A server that does not know a script says
// NOSCRIPT; the calls then go on from the first that failed, in order, and carry the source. Those that
// run twice by that find their work done: every script is safe against it.
func execute(ctx context.Context, client processor, pipe redis.Pipeliner, calls []outgoing) {
	const passes = 3 // a server may restart between two of them
	for pass := 1; ; pass++ {
		var loaded [acquire + 1]bool
		for i := range calls {
			o := &calls[i]
			if o.plainRelease(ctx) {
				continue
			}
			v := o.call.verb
			source := pass > 1 && !loaded[v]
			loaded[v] = true
			o.cmd = o.command(ctx, source)
		}
		if len(calls) == 1 && calls[0].zrem == nil {
			_ = client.Process(ctx, calls[0].cmd)
		} else {
			for i := range calls {
				if calls[i].zrem != nil {
					_ = pipe.Process(ctx, calls[i].zrem)
				}
				if calls[i].cmd != nil {
					_ = pipe.Process(ctx, calls[i].cmd)
				}
			}
			_, _ = pipe.Exec(ctx)
		}
		missing := -1
		for i := range calls {
			calls[i].finish()
			if err := calls[i].call.failure.err; missing < 0 && err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
				missing = i
			}
		}
		if missing < 0 || pass == passes {
			return
		}
		calls = calls[missing:]
	}
}

// command is the call as Redis wants it: with the script's name, or with its source.
func (o *outgoing) command(ctx context.Context, source bool) redis.Cmder {
	c, k := o.call, o.conversation.keys
	args := make([]any, 0, 2+len(k)+3+2*len(c.grants))
	args = k.Command(args, c.verb.script(), source)
	switch c.verb {
	case renew:
		args = append(args, scripts.RenewFlags(c.setBack))
	case release:
		args = append(args, scripts.ReleaseFlags(c.queued, c.promote, len(c.grants) == 0))
	case acquire:
		flags := scripts.AcquireFlags(c.refresh, c.permits > len(c.grants), c.stood)
		args = append(args, &o.exchange.notAfter, flags, &c.behind)
	}
	for i, g := range c.grants {
		if o.zrem != nil {
			break // which has taken them out
		}
		args = append(args, &g.id)
		if c.verb == acquire {
			args = append(args, c.age(i))
		}
	}
	return routed(redis.NewIntSliceCmd(ctx, args...))
}

// routed tells go-redis that nothing has to be looked up to route cmd by its keys. A cluster client asks a
// node that it chooses at random for the table of all COMMANDs before the first command that it sends alone;
// where that node hangs, all others wait for it.
func routed[C redis.Cmder](cmd C) C {
	cmd.SetStepCount(1)
	return cmd
}

// plainRelease takes the ids of a release out with a command of their own, at a fifth of a script's cost to Redis.
// It reports whether that is all: where nobody seems to wait, it asks whether that is so, and promoting takes
// another trip if not; and where an acquire follows, that promotes.
//
// Where the script promotes, it helps all the same: a server answers last whom it has answered first, so the
// waiter's push leaves before the answer to the release does.
func (o *outgoing) plainRelease(ctx context.Context) (done bool) {
	o.zrem, o.cmd = nil, nil
	c, k := o.call, o.conversation.keys
	if !c.plain() {
		return false
	}
	args := append(make([]any, 0, 2+len(c.grants)), "zrem", k.Holders())
	for _, g := range c.grants {
		args = append(args, &g.id)
	}
	o.zrem = redis.NewIntCmd(ctx, args...)
	if c.look {
		o.cmd = redis.NewIntCmd(ctx, "exists", k.Queue())
	}
	return !c.promote
}

// age is for how many µs the i-th request has waited, as the script wants it.
func (c *call) age(i int) any {
	if c.ages[i] == once {
		return ""
	}
	return &c.ages[i]
}

// finish takes the commands' answers over.
func (o *outgoing) finish() {
	c := o.call
	if o.zrem != nil {
		c.removed += int(o.zrem.Val()) // a second pass finds nothing any more
	}
	err := o.trouble()
	if err != nil && o.zrem != nil && o.zrem.Err() == nil && isTransient(err) {
		// The permits are back. Only the server cannot promote now: its slot moves, or its memory is full.
		c.unpromoted, c.failure = true, failure{}
		return
	}
	if err != nil {
		err = explain(c.verb.script(), err)
	}
	switch cmd := o.cmd.(type) {
	case *redis.IntSliceCmd:
		if err == nil {
			err = c.take(cmd.Val())
		}
	case *redis.IntCmd:
		c.more = err == nil && cmd.Val() > 0
	}
	c.failure = failureOf(err)
}

// take reads a script's reply.
func (c *call) take(reply []int64) error {
	var status scripts.Status
	switch c.verb {
	case release:
		var err error
		if status, err = scripts.ReleaseReply(reply); err != nil {
			return err
		}
	case renew:
		r, err := scripts.RenewReply(reply)
		if err != nil {
			return err
		}
		status, c.server, c.expiry, c.lost = r.Status, r.ServerTime, r.Expiry, r.Lost
	case acquire:
		r, err := scripts.AcquireReply(reply, len(c.grants))
		if err != nil {
			return err
		}
		status, c.server = r.Status, r.ServerTime
		c.takeAnswers(&r)
	}
	c.late, c.muted, c.more = status.Has(scripts.Late), status.Has(scripts.Muted), status.Has(scripts.More)
	return nil
}

func (c *call) takeAnswers(r *scripts.Acquired) {
	c.answers = c.answers[:0]
	if !r.Status.Has(scripts.Late) {
		if cap(c.answers) < len(c.grants) {
			c.answers = make([]answer, 0, len(c.grants))
		}
		for i := range c.grants {
			a := r.Answer(i)
			c.answers = append(c.answers, answer{expiry: a.Expiry, token: a.Token})
		}
	}
	c.occupancy = nil
	if d, full := r.Details(); full {
		c.occupancy = &occupancy{
			capacity: int(d.Capacity), held: int(d.Held), waiting: int(d.Waiting), first: d.First,
			otherCapacity: int(d.OtherCapacity), otherTTL: time.Duration(d.OtherTTL) * time.Millisecond,
		}
	}
}

// trouble is the first error of the commands.
func (o *outgoing) trouble() error {
	if o.zrem != nil && o.zrem.Err() != nil {
		return o.zrem.Err()
	}
	if o.cmd != nil {
		return o.cmd.Err()
	}
	return nil
}

// denied reports whether the Redis user may not run a command of a script. Redis 7 names the line of
// the script, and not the command.
func denied(err error) bool {
	return strings.Contains(err.Error(), "user executing the script can't run")
}

var (
	scriptLine = regexp.MustCompile(`user_script:(\d+)`)
	scriptCall = regexp.MustCompile(`redis\.p?call\('(\w+)'`)
)

// explain adds to an error about permissions the command that stands in the script's line.
func explain(v scripts.Verb, err error) error {
	if !denied(err) {
		return err
	}
	command := "a command of the script"
	if at := scriptLine.FindStringSubmatch(err.Error()); at != nil {
		n, _ := strconv.Atoi(at[1])
		if lines := strings.Split(v.Source(), "\n"); n >= 1 && n <= len(lines) {
			if call := scriptCall.FindStringSubmatch(lines[n-1]); call != nil {
				command = call[1]
			}
		}
	}
	return fmt.Errorf("NOPERM %s: %w", command, err)
}
