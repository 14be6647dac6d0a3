// Package transport sends the calls of protocol states to Redis and returns the answers. It puts the calls of many
// states into one pipeline. It runs scripts by their hash, and sends the source where the server does not know them. On a
// Cluster it sends each call to the node that keeps the semaphore. It also keeps the subscription on which Redis
// publishes grants that other processes' scripts made, and the latest reading of each server's clock.
//
// It decides nothing about permits: a state (internal/protocol) decides what to send, and receives the answers. How a
// verb is called and what its reply means is in lease/scripts.
package transport

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/lease/scripts"
)

const (
	maxPipelines = 4    // pipelines at a time
	maxAbandoned = 256  // others, which senders gave up and which have not come back
	maxCalls     = 1000 // in one pipeline
)

// A Sender is one semaphore whose batches the transport carries.
type Sender interface {
	// Keys are the semaphore's keys in Redis, with what the process declares now. The keys never change.
	Keys() *scripts.Keys
	// Depart returns what the semaphore sends in this round, nil if nothing. Whoever gives the batch up passes the
	// round to GiveUp.
	Depart(Round) *protocol.Batch
	// Arrive takes back what Depart returned, with the answers filled in. server has answered, or would have; nil:
	// it is not known which.
	Arrive(batch *protocol.Batch, server *Server)
}

// A Transport carries batches to Redis and back, many senders' in one pipeline, and is the only place that
// runs scripts. A lone batch goes straight out. While maxPipelines pipelines are under way, the next
// batches gather and share the next one, so that batches come by themselves under load.
// Safe for concurrent use.
type Transport struct {
	// immutable
	client  redis.UniversalClient
	cluster *redis.ClusterClient // client, if it is one
	ctx     context.Context      // ends what is under way
	bounded bool                 // a context bounds the client's calls
	apart   atomic.Bool          // the server takes no joint renewals

	mu            sync.Mutex
	ready         []Sender // with something to send
	underWay      int
	acknowledging int // pipelines beside these that wait for replicas
	abandoned     int
	idle          []*pipeline
	closed        bool
	running       sync.WaitGroup

	servers servers
}

// New makes a transport that sends through client until ctx ends. It does no I/O.
func New(ctx context.Context, client redis.UniversalClient) *Transport {
	t := &Transport{client: client, ctx: ctx, bounded: isBounded(client)}
	t.cluster, _ = client.(*redis.ClusterClient)
	return t
}

// Bounded reports whether a call ends with its context. Where it does not, a call may last for as long as the
// client's own timeouts let it.
func (t *Transport) Bounded() bool { return t.bounded }

// Server returns what is known of the server at an address; "" is the only one of a client that is no Cluster's.
func (t *Transport) Server(addr string) *Server { return t.servers.at(addr) }

// OnlyServer returns the server that answers all calls; nil on a Cluster, where each call has its own.
func (t *Transport) OnlyServer() *Server {
	if t.cluster != nil {
		return nil
	}
	return t.servers.at("")
}

// Send carries the sender's batch, now or with the next pipeline. inline: the calling goroutine carries it,
// if it can go at once.
func (t *Transport) Send(s Sender, inline bool) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return
	}
	if t.underWay >= maxPipelines || t.abandoned >= maxAbandoned {
		t.ready = append(t.ready, s)
		t.mu.Unlock()
		return
	}
	inline = inline && len(t.ready) == 0
	t.ready = append(t.ready, s)
	p := t.pipelineLocked()
	t.mu.Unlock()
	if !inline {
		go p.run(false)
		return
	}
	p.run(true)
}

// Quiet reports whether it carries nothing and has nothing to carry.
func (t *Transport) Quiet() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.underWay == 0 && t.acknowledging == 0 && t.abandoned == 0 && len(t.ready) == 0
}

// Run runs calls in order over a connection of its own choice and fills in their replies. It is for calls that no state
// waits for, and returns when all are answered or ctx ends, where the client lets it.
func (t *Transport) Run(ctx context.Context, keys *scripts.Keys, calls []protocol.Call) {
	batch := &protocol.Batch{}
	requests := make([]request, len(calls))
	for i := range calls {
		requests[i] = request{keys: keys, batch: batch, call: &calls[i], alone: true}
	}
	execute(ctx, t.client, t.client.Pipeline(), requests, nil, &room{})
}

// Script runs one of the scripts for operators and returns its reply. It waits for as long as the client lets it, or until
// ctx ends.
func (t *Transport) Script(ctx context.Context, keys *scripts.Keys, v scripts.Verb, args ...any) ([]any, error) {
	run := func(source bool) ([]any, error) {
		cmd := routed(redis.NewSliceCmd(ctx, append(keys.Command(nil, v, source, false, false), args...)...))
		_ = t.client.Process(ctx, cmd)
		return cmd.Result()
	}
	reply, err := run(false)
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		reply, err = run(true)
	}
	if err != nil {
		return nil, explain(v, err)
	}
	return reply, nil
}

// Scripts runs v once for each of keys, in pipelines, and calls read with each reply, or with why there is none. It waits
// as Script does, once: when none of a pipeline's calls is answered, no other is sent.
func (t *Transport) Scripts(ctx context.Context, all []*scripts.Keys, v scripts.Verb, read func(i int, reply []any, err error)) {
	const atATime = 200
	for first := 0; first < len(all); first += atATime {
		part := all[first:min(first+atATime, len(all))]
		cmds := make([]*redis.SliceCmd, len(part))
		run := func(source bool) {
			pipe := t.client.Pipeline()
			for i, keys := range part {
				if cmds[i] == nil || redis.HasErrorPrefix(cmds[i].Err(), "NOSCRIPT") {
					cmds[i] = routed(redis.NewSliceCmd(ctx, keys.Command(nil, v, source, false, false)...))
					_ = pipe.Process(ctx, cmds[i])
				}
			}
			_, whole := pipe.Exec(ctx)
			isWhole := !slices.ContainsFunc(cmds, func(cmd *redis.SliceCmd) bool { return cmd.Err() != nil })
			for _, cmd := range cmds {
				if whole != nil && isWhole { // the client has sent no command, and has not told the commands why
					cmd.SetErr(whole)
				}
			}
		}
		run(false)
		if slices.ContainsFunc(cmds, func(cmd *redis.SliceCmd) bool { return redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") }) {
			run(true)
		}
		var away error // the last call's
		for i, cmd := range cmds {
			reply, err := cmd.Result()
			if err != nil {
				away = err
				err = explain(v, err)
			}
			read(first+i, reply, err)
		}
		if !slices.ContainsFunc(cmds, isAnswered) {
			for i := first + len(part); i < len(all); i++ {
				read(i, nil, explain(v, away))
			}
			return
		}
	}
}

// isAnswered reports whether a server has answered, be it with an error.
func isAnswered(cmd *redis.SliceCmd) bool {
	var answer redis.Error
	return cmd.Err() == nil || errors.As(cmd.Err(), &answer)
}

// Check runs each command that the scripts need, on the keys of a semaphore that nobody uses, and returns an error that
// names those that cannot be run.
func (t *Transport) Check(ctx context.Context, keys *scripts.Keys) error {
	reply, err := t.Script(ctx, keys, scripts.Check)
	if err != nil {
		return err
	}
	failing, err := scripts.CheckReply(reply)
	if err != nil || len(failing) == 0 {
		return err
	}
	var names []string
	for _, f := range failing {
		names = append(names, f.Command)
	}
	return fmt.Errorf("%s: %w", strings.Join(names, ", "), replyError(failing[0].Error))
}

// A replyError is an error that a server has answered inside a reply.
type replyError string

func (e replyError) Error() string { return string(e) }
func (e replyError) RedisError()   {}

// Scan calls found with each key of a type (zset, string, hash) that matches the pattern, perhaps more than once. On a
// Cluster it calls found from one goroutine for each master.
func (t *Transport) Scan(ctx context.Context, pattern, kind string, found func(key string)) error {
	scan := func(ctx context.Context, node *redis.Client) error { return scanKeys(ctx, node, pattern, kind, found) }
	if t.cluster != nil {
		return t.cluster.ForEachMaster(ctx, scan)
	}
	return scanKeys(ctx, t.client, pattern, kind, found)
}

func scanKeys(ctx context.Context, node redis.Cmdable, pattern, kind string, found func(key string)) error {
	for cursor := uint64(0); ; {
		keys, next, err := node.ScanType(ctx, cursor, pattern, 1000, kind).Result()
		if err != nil {
			return err
		}
		for _, key := range keys {
			found(key)
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// PingMasters pings every master of a Cluster, and returns the first error; elsewhere it does nothing.
func (t *Transport) PingMasters(ctx context.Context) error {
	if t.cluster == nil {
		return nil
	}
	return t.cluster.ForEachMaster(ctx, func(ctx context.Context, node *redis.Client) error { return node.Ping(ctx).Err() })
}

// A Round is one turn of a pipeline: Depart is told of it. The zero Round is none.
type Round struct {
	pipeline *pipeline
	number   int
}

// GiveUp takes a round off the pipelines that count: it may hang for as long as the client lets it. Nothing
// happens when another sender has given the round up before, or when it has come back. The zero Round is ignored.
func (t *Transport) GiveUp(round Round) {
	p := round.pipeline
	if p == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.abandoned || p.round != round.number {
		return
	}
	p.abandoned = true
	t.underWay--
	t.abandoned++
	if len(t.ready) > 0 && !t.closed && t.abandoned < maxAbandoned {
		go t.pipelineLocked().run(false)
	}
}

// isBounded reports whether a context bounds the client's calls.
func isBounded(client redis.UniversalClient) bool {
	switch c := client.(type) {
	case *redis.Client:
		return c.Options().ContextTimeoutEnabled
	case *redis.ClusterClient:
		return c.Options().ContextTimeoutEnabled
	}
	return false
}

// Close refuses what is ready and what comes. What is under way ends with the context of New, where the client lets it.
func (t *Transport) Close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed, t.ready = true, nil
}

// Wait returns when nothing is under way any more. A call that the client does not let a context end
// lasts until the client's own timeouts end it.
func (t *Transport) Wait() { t.running.Wait() }
