package lease

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/protocol"
)

const (
	maxPipelines = 4    // pipelines at a time
	maxStuck     = 256  // more that were given up and have not come back
	maxCalls     = 1000 // in one pipeline
)

// A transport carries batches to Redis and back, many states' in one pipeline, and is the only place that
// runs scripts. A lone batch goes straight out. While maxPipelines pipelines are under way, the next
// batches gather and share the next one, so that batches come by themselves under load.
// Safe for concurrent use.
type transport struct {
	client  redis.UniversalClient
	cluster *redis.ClusterClient // client, if it is one
	server  func(addr string) *serverTime
	ctx     context.Context // ends when the manager is closed
	bounded bool            // a context bounds the client's calls

	mu       sync.Mutex
	ready    []*driver // with something to send
	underWay int
	stuck    int
	idle     []*pipeline
	closed   bool
	running  sync.WaitGroup
}

// A pipeline is one goroutine that carries pipelines, one after the other.
type pipeline struct {
	transport *transport
	stuck     bool // guarded by transport.mu: a state gave this round up
	round     int  // guarded by transport.mu, written by its own goroutine only
	batch     []*driver
	entries   []entry
	requests  []request
	pipe      redis.Pipeliner // empty between two rounds

	ctx      context.Context // bounds a round
	deadline time.Time
	cancel   context.CancelFunc
}

type entry struct {
	driver *driver
	batch  *protocol.Batch
}

// send carries c's batch, now or with the next pipeline. inline: the calling goroutine carries it,
// if it can go at once.
func (w *transport) send(c *driver, inline bool) {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return
	}
	if w.underWay >= maxPipelines || w.stuck >= maxStuck {
		w.ready = append(w.ready, c)
		w.mu.Unlock()
		return
	}
	inline = inline && len(w.ready) == 0
	w.ready = append(w.ready, c)
	f := w.pipelineLocked()
	w.mu.Unlock()
	if !inline {
		go f.run(false)
		return
	}
	f.run(true)
}

// pipelineLocked returns a pipeline that is not used, and counts it.
func (w *transport) pipelineLocked() *pipeline {
	w.underWay++
	w.running.Add(1)
	if n := len(w.idle) - 1; n >= 0 {
		f := w.idle[n]
		w.idle = w.idle[:n]
		return f
	}
	return w.newPipeline()
}

func (w *transport) newPipeline() *pipeline {
	return &pipeline{transport: w, pipe: w.client.Pipeline(), cancel: func() {}}
}

// run carries what is ready until nothing is, or until its pipeline was given up: then another pipeline
// has taken its place. once: what is left goes to another goroutine.
func (f *pipeline) run(once bool) {
	w := f.transport
	defer w.running.Done()
	for first := true; ; first = false {
		if !once {
			// The callers that the last replies woke run first: what they ask for goes along. Without
			// this, the first of them leaves alone and the others wait for the next round.
			runtime.Gosched()
		}
		w.mu.Lock()
		f.round++
		if f.stuck {
			w.stuck--
			f.stuck = false
			if w.underWay >= maxPipelines {
				w.mu.Unlock()
				return
			}
			w.underWay++
		}
		n := min(len(w.ready), maxCalls)
		if n == 0 || w.closed {
			w.underWay--
			w.idle = append(w.idle, f)
			w.mu.Unlock()
			return
		}
		if once && !first {
			w.running.Add(1)
			w.mu.Unlock()
			go f.run(false)
			return
		}
		f.batch = append(f.batch, w.ready[:n]...)
		w.ready = slices.Delete(w.ready, 0, n)
		w.mu.Unlock()
		f.carry()
	}
}

// giveUp takes a round of f off the pipelines that count: it may hang for as long as the client lets it.
func (w *transport) giveUp(f *pipeline, round int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.stuck || f.round != round {
		return // by another state, or it came back meanwhile
	}
	f.stuck = true
	w.underWay--
	w.stuck++
	if len(w.ready) > 0 && !w.closed && w.stuck < maxStuck {
		go w.pipelineLocked().run(false)
	}
}

// carry takes one batch of each driver of its batch to Redis and back.
func (f *pipeline) carry() {
	f.entries = f.entries[:0]
	for _, c := range f.batch {
		if ex := c.depart(f); ex != nil {
			f.entries = append(f.entries, entry{driver: c, batch: ex})
		}
	}
	clear(f.batch)
	f.batch = f.batch[:0]
	if len(f.entries) == 0 {
		return
	}
	if f.transport.cluster == nil {
		f.deliver(f.entries, f.transport.server(""))
		return
	}
	// One pipeline for each node: a dead one cannot hold up the answers of the living.
	ctx := f.attempt(f.entries)
	nodes := map[string][]entry{}
	for _, l := range f.entries {
		addr := ""
		if node, err := f.transport.cluster.MasterForKey(ctx, l.driver.keys.Holders().(string)); err == nil {
			addr = node.Options().Addr
		}
		nodes[addr] = append(nodes[addr], l)
	}
	var others sync.WaitGroup
	for addr, entries := range nodes {
		others.Go(func() {
			g := f.transport.newPipeline()
			g.deliver(entries, f.transport.server(addr))
			g.cancel()
		})
	}
	others.Wait()
	clear(f.entries)
}

// deliver runs the calls of entries in one pipeline and hands each state what came of its own.
func (f *pipeline) deliver(entries []entry, server *serverTime) {
	ctx := f.attempt(entries)
	f.requests = f.requests[:0]
	for _, l := range entries {
		for i := range l.batch.Calls {
			f.requests = append(f.requests, request{driver: l.driver, batch: l.batch, call: &l.batch.Calls[i]})
		}
	}
	f.execute(ctx, entries)
	for _, l := range entries {
		l.driver.arrive(l.batch, server)
	}
	clear(f.requests)
	clear(entries)
}

// execute runs what is outgoing. Several calls that renew go over a connection that is there, rather than over one that
// has to be made: go-redis has a pool for pipelines alone, and far away a connection takes three round trips.
func (f *pipeline) execute(ctx context.Context, entries []entry) {
	if len(f.requests) > 1 && slices.ContainsFunc(entries, func(l entry) bool { return l.batch.Renews > 0 }) {
		if conn := idleConn(f.transport.client); conn != nil {
			execute(ctx, conn, conn.Pipeline(), f.requests)
			_ = conn.Close() // it goes back to its pool
			return
		}
	}
	execute(ctx, f.transport.client, f.pipe, f.requests)
}

// idleConn is a connection of the client's that is idle, where none for pipelines is; nil: there is no such.
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

// attempt bounds what the client does for entries, where the client lets a context bound it. The states give up by
// themselves, before; the client has the time to connect, and for its own retries, whose error says more than a
// deadline.
//
// To make such a context takes longer than all else that is made for a trip. One bounds the trips of a
// pipeline until a quarter of its time is over.
func (f *pipeline) attempt(entries []entry) context.Context {
	w := f.transport
	var longest time.Duration
	for _, l := range entries {
		longest = max(longest, l.batch.Patience)
	}
	if left := time.Until(f.deadline); left < longest/4*3 || left > longest {
		f.cancel()
		f.deadline = time.Now().Add(longest)
		f.ctx, f.cancel = context.WithDeadline(w.ctx, f.deadline)
	}
	return f.ctx
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

// close refuses what is ready and cancels what is under way.
func (w *transport) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed, w.ready = true, nil
}

// wait returns when nothing is under way any more. A call that the client does not let a context end
// lasts until the client's own timeouts end it.
func (w *transport) wait() { w.running.Wait() }
