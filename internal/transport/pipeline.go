package transport

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/protocol"
)

// A pipeline is one goroutine that sends go-redis's pipelines, one after the other.
type pipeline struct {
	transport *Transport
	abandoned bool // guarded by transport.mu: a sender gave this round up
	round     int  // guarded by transport.mu, written by its own goroutine only
	senders   []Sender
	entries   []entry
	requests  []request
	pipe      redis.Pipeliner // empty between two rounds

	room            room
	inline, patient bound // of rounds that a caller waits for, and of the others
}

// A bound is a context for several rounds, each of which may take until its deadline.
type bound struct {
	ctx      context.Context // nil: none yet
	deadline time.Time
	cancel   context.CancelFunc
}

type entry struct {
	sender Sender
	batch  *protocol.Batch
}

// pipelineLocked returns a pipeline that is not used, and counts it.
func (t *Transport) pipelineLocked() *pipeline {
	t.underWay++
	t.running.Add(1)
	if n := len(t.idle) - 1; n >= 0 {
		p := t.idle[n]
		t.idle = t.idle[:n]
		return p
	}
	return t.newPipeline()
}

func (t *Transport) newPipeline() *pipeline {
	return &pipeline{transport: t, pipe: t.client.Pipeline()}
}

// run sends batches until no sender is ready. If a sender has given this pipeline up meanwhile, and others are under way
// in its place, run returns. With once it sends one round, and leaves what is ready then to another goroutine.
func (p *pipeline) run(once bool) {
	t := p.transport
	defer t.running.Done()
	ended := false
	defer func() {
		if !ended {
			p.panicked()
		}
	}()
	for first := true; ; first = false {
		if !once {
			// The callers that the last replies woke run first: what they ask for goes along. Without
			// this, the first of them leaves alone and the others wait for the next round.
			runtime.Gosched()
		}
		t.mu.Lock()
		p.round++
		if p.abandoned {
			t.abandoned--
			p.abandoned = false
			if t.underWay >= maxPipelines {
				t.mu.Unlock()
				ended = true
				return
			}
			t.underWay++
		}
		n := min(len(t.ready), maxCalls)
		if n == 0 || t.closed {
			t.underWay--
			t.idle = append(t.idle, p)
			t.mu.Unlock()
			ended = true
			return
		}
		if once && !first {
			t.running.Add(1)
			t.mu.Unlock()
			ended = true
			go p.run(false)
			return
		}
		p.senders = append(p.senders, t.ready[:n]...)
		t.ready = slices.Delete(t.ready, 0, n)
		t.mu.Unlock()
		p.carry(once)
	}
}

// panicked takes p off what is under way. A hook of the client's has panicked, and a caller that carries its own batch may
// recover. Nobody uses p again; its batch has no answer, and the state gives it up when its time is over.
func (p *pipeline) panicked() {
	t := p.transport
	t.mu.Lock()
	defer t.mu.Unlock()
	p.round++
	if p.abandoned {
		t.abandoned--
	} else {
		t.underWay--
	}
	if len(t.ready) > 0 && !t.closed && t.underWay < maxPipelines {
		go t.pipelineLocked().run(false)
	}
}

// carry sends one batch of each of its senders and hands the answers back. inline: a caller waits for it to return.
func (p *pipeline) carry(inline bool) {
	p.entries = p.entries[:0]
	for _, s := range p.senders {
		if batch := s.Depart(Round{p, p.round}); batch != nil {
			p.entries = append(p.entries, entry{sender: s, batch: batch})
		}
	}
	clear(p.senders)
	p.senders = p.senders[:0]
	if len(p.entries) == 0 {
		return
	}
	if p.transport.cluster == nil {
		node, _ := p.transport.client.(*redis.Client)
		p.deliver(p.entries, p.transport.Server(""), node, inline)
		return
	}
	// One pipeline for each node: a dead one cannot hold up the answers of the living.
	ctx := p.attempt(p.entries, inline)
	nodes := map[*redis.Client][]entry{} // nil: it is not known which
	for _, e := range p.entries {
		node, _ := p.transport.cluster.MasterForKey(ctx, e.sender.Keys().Holders().(string))
		nodes[node] = append(nodes[node], e)
	}
	var others sync.WaitGroup
	for node, entries := range nodes {
		addr := ""
		if node != nil {
			addr = node.Options().Addr
		}
		others.Go(func() {
			q := p.transport.newPipeline()
			q.deliver(entries, p.transport.Server(addr), node, inline)
			q.inline.end()
			q.patient.end()
		})
	}
	others.Wait()
	clear(p.entries)
}

// deliver runs the calls of entries and hands each sender what came of its own. What replicas have to acknowledge goes by
// itself, so that nobody else waits for them. node is the server's client, nil where it is not known.
func (p *pipeline) deliver(entries []entry, server *Server, node *redis.Client, inline bool) {
	replicated := func(e entry) bool { return e.batch.Replicas > 0 }
	if !slices.ContainsFunc(entries, replicated) {
		p.exchange(entries, server, inline, nil)
		return
	}
	slices.SortStableFunc(entries, func(a, b entry) int { return a.batch.Replicas - b.batch.Replicas })
	for len(entries) > 0 {
		n := 1
		for n < len(entries) && entries[n].batch.Replicas == entries[0].batch.Replicas {
			n++
		}
		if part := entries[:n]; replicated(part[0]) {
			p.acknowledge(slices.Clone(part), server, node)
			clear(part)
		} else {
			p.exchange(part, server, inline, nil)
		}
		entries = entries[n:]
	}
}

// acknowledge is exchange for batches that wait for replicas. It does not wait for it, unless many are under way.
func (p *pipeline) acknowledge(entries []entry, server *Server, node *redis.Client) {
	t := p.transport
	exchange := func() {
		q := t.newPipeline()
		q.exchange(entries, server, false, &acknowledgement{node: node, fewest: -1})
		q.patient.end()
	}
	t.mu.Lock()
	free := t.acknowledging < maxPipelines && !t.closed
	if free {
		t.acknowledging++
		t.running.Add(1)
	}
	t.mu.Unlock()
	if !free {
		exchange()
		return
	}
	go func() {
		defer t.running.Done()
		exchange()
		t.mu.Lock()
		defer t.mu.Unlock()
		t.acknowledging--
	}()
}

// exchange runs the calls of entries in one pipeline and hands each sender what came of its own.
func (p *pipeline) exchange(entries []entry, server *Server, inline bool, replicas *acknowledgement) {
	p.requests = p.requests[:0]
	// A caller who waits for its own answer waits for no second round trip.
	alone := inline || p.transport.cluster != nil || p.transport.apart.Load()
	// Renewals go first. go-redis repeats a pipeline, some times and with pauses, while the server says to the first command
	// that it will soon think otherwise (TRYAGAIN while a slot moves): that must hold up no renewal.
	for _, renewals := range []bool{true, false} {
		for _, e := range entries {
			for i := range e.batch.Calls {
				if c := &e.batch.Calls[i]; (c.Verb == protocol.Renew) == renewals {
					p.requests = append(p.requests, request{keys: e.sender.Keys(), batch: e.batch, call: c, alone: alone})
				}
			}
		}
	}
	for rest := entries; len(rest) > 0; {
		ctx := p.attempt(rest, inline)
		if replicas != nil {
			replicas.execute(ctx, p, rest)
		} else {
			p.execute(ctx, rest)
		}
		p.keepLeft()
		answered := 0
		for i, e := range rest {
			if !slices.ContainsFunc(p.requests, func(r request) bool { return r.batch == e.batch }) {
				rest[answered], rest[i] = e, rest[answered]
				answered++
			}
		}
		for _, e := range rest[:answered] {
			e.sender.Arrive(e.batch, server)
		}
		rest = rest[answered:]
	}
	clear(p.requests)
	clear(entries)
}

// keepLeft keeps the requests that a joint has left over: they go alone now.
func (p *pipeline) keepLeft() {
	if slices.ContainsFunc(p.requests, func(r request) bool { return r.refused }) {
		p.transport.apart.Store(true)
	}
	p.requests = slices.DeleteFunc(p.requests, func(r request) bool { return !r.again })
	for i := range p.requests {
		p.requests[i].alone, p.requests[i].batch.Twice = true, true
	}
}

// execute runs the requests. Several calls that renew go over a connection that is there, rather than over one that
// has to be made: go-redis has a pool for pipelines alone, and far away a connection takes three round trips.
func (p *pipeline) execute(ctx context.Context, entries []entry) {
	if len(p.requests) > 1 && slices.ContainsFunc(entries, func(e entry) bool { return e.batch.Renews > 0 }) {
		if conn := idleConn(p.transport.client); conn != nil {
			defer conn.Close() // it goes back to its pool
			execute(ctx, conn, conn.Pipeline(), p.requests, nil, &p.room)
			return
		}
	}
	execute(ctx, p.transport.client, p.pipe, p.requests, nil, &p.room)
}

// idleConn returns an idle connection of the client, if the pool that go-redis keeps for pipelines has none; else nil.
func idleConn(client redis.UniversalClient) *redis.Conn {
	c, ok := client.(*redis.Client)
	if !ok {
		return nil
	}
	s := c.PoolStats()
	if s.IdleConns == 0 || s.PipelineStats == nil || s.PipelineStats.IdleConns > 0 {
		return nil
	}
	return c.Conn()
}

// MaxInline is for how long a caller that carries its own batch may have to wait for Redis.
const MaxInline = 2 * time.Second

// attempt bounds what the client does for entries, where the client lets a context bound it. The states give up by
// themselves, before; the client has the time to connect, and for its own retries, whose error says more than a
// deadline.
//
// To make such a context takes longer than all else that a round needs. So a pipeline uses one for several rounds, until
// a quarter of its time is over; and has two, so that rounds that a caller waits for and others can alternate.
func (p *pipeline) attempt(entries []entry, inline bool) context.Context {
	var longest time.Duration
	for _, e := range entries {
		longest = max(longest, e.batch.Patience)
	}
	b := &p.patient
	if inline {
		b, longest = &p.inline, min(longest, MaxInline)
	}
	if left := time.Until(b.deadline); left < longest/4*3 || left > longest {
		b.end()
		b.deadline = time.Now().Add(longest)
		b.ctx, b.cancel = context.WithDeadline(p.transport.ctx, b.deadline)
	}
	return b.ctx
}

// end lets go of the context.
func (b *bound) end() {
	if b.ctx != nil {
		b.cancel()
	}
}
