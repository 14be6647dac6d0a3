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
	maxFlights = 4    // pipelines at a time
	maxStuck   = 256  // more that were given up and have not come back
	maxCalls   = 1000 // in one pipeline
)

// A wire carries exchanges to Redis and back, many desks' in one pipeline, and is the only place that
// runs scripts. A lone exchange goes straight out. While maxFlights pipelines are under way, the next
// exchanges gather and share the next one, so that batches come by themselves under load.
// Safe for concurrent use.
type wire struct {
	client  redis.UniversalClient
	cluster *redis.ClusterClient // client, if it is one
	server  func(addr string) *serverTime
	ctx     context.Context // ends when the manager is closed
	bounded bool            // a context bounds the client's calls

	mu      sync.Mutex
	ready   []*conversation // with something to send
	flying  int
	stuck   int
	idle    []*flight
	closed  bool
	flights sync.WaitGroup
}

// A flight is one goroutine that carries pipelines, one after the other.
type flight struct {
	wire     *wire
	stuck    bool // guarded by wire.mu: a desk gave this trip up
	trip     int  // guarded by wire.mu, written by its own goroutine only
	batch    []*conversation
	legs     []leg
	outgoing []outgoing
	pipe     redis.Pipeliner // empty between two trips

	ctx      context.Context // bounds a trip
	deadline time.Time
	cancel   context.CancelFunc
}

type leg struct {
	conversation *conversation
	exchange     *protocol.Batch
}

// send carries c's exchange, now or with the next pipeline. inline: the calling goroutine carries it,
// if it can go at once.
func (w *wire) send(c *conversation, inline bool) {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return
	}
	if w.flying >= maxFlights || w.stuck >= maxStuck {
		w.ready = append(w.ready, c)
		w.mu.Unlock()
		return
	}
	inline = inline && len(w.ready) == 0
	w.ready = append(w.ready, c)
	f := w.flightLocked()
	w.mu.Unlock()
	if !inline {
		go f.run(false)
		return
	}
	f.run(true)
}

// flightLocked returns a flight that is not used, and counts it.
func (w *wire) flightLocked() *flight {
	w.flying++
	w.flights.Add(1)
	if n := len(w.idle) - 1; n >= 0 {
		f := w.idle[n]
		w.idle = w.idle[:n]
		return f
	}
	return w.newFlight()
}

func (w *wire) newFlight() *flight {
	return &flight{wire: w, pipe: w.client.Pipeline(), cancel: func() {}}
}

// run carries what is ready until nothing is, or until its pipeline was given up: then another flight
// has taken its place. once: what is left goes to another goroutine.
func (f *flight) run(once bool) {
	w := f.wire
	defer w.flights.Done()
	for first := true; ; first = false {
		if !once {
			// The callers that the last replies woke run first: what they ask for goes along. Without
			// this, the first of them leaves alone and the others wait for the next trip.
			runtime.Gosched()
		}
		w.mu.Lock()
		f.trip++
		if f.stuck {
			w.stuck--
			f.stuck = false
			if w.flying >= maxFlights {
				w.mu.Unlock()
				return
			}
			w.flying++
		}
		n := min(len(w.ready), maxCalls)
		if n == 0 || w.closed {
			w.flying--
			w.idle = append(w.idle, f)
			w.mu.Unlock()
			return
		}
		if once && !first {
			w.flights.Add(1)
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

// giveUp takes a trip of f off the pipelines that count: it may hang for as long as the client lets it.
func (w *wire) giveUp(f *flight, trip int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if f.stuck || f.trip != trip {
		return // by another desk, or it came back meanwhile
	}
	f.stuck = true
	w.flying--
	w.stuck++
	if len(w.ready) > 0 && !w.closed && w.stuck < maxStuck {
		go w.flightLocked().run(false)
	}
}

// carry takes one exchange of each conversation of its batch to Redis and back.
func (f *flight) carry() {
	f.legs = f.legs[:0]
	for _, c := range f.batch {
		if ex := c.depart(f); ex != nil {
			f.legs = append(f.legs, leg{conversation: c, exchange: ex})
		}
	}
	clear(f.batch)
	f.batch = f.batch[:0]
	if len(f.legs) == 0 {
		return
	}
	if f.wire.cluster == nil {
		f.deliver(f.legs, f.wire.server(""))
		return
	}
	// One pipeline for each node: a dead one cannot hold up the answers of the living.
	ctx := f.attempt(f.legs)
	nodes := map[string][]leg{}
	for _, l := range f.legs {
		addr := ""
		if node, err := f.wire.cluster.MasterForKey(ctx, l.conversation.keys.Holders().(string)); err == nil {
			addr = node.Options().Addr
		}
		nodes[addr] = append(nodes[addr], l)
	}
	var others sync.WaitGroup
	for addr, legs := range nodes {
		others.Go(func() {
			g := f.wire.newFlight()
			g.deliver(legs, f.wire.server(addr))
			g.cancel()
		})
	}
	others.Wait()
	clear(f.legs)
}

// deliver runs the calls of legs in one pipeline and hands each desk what came of its own.
func (f *flight) deliver(legs []leg, server *serverTime) {
	ctx := f.attempt(legs)
	f.outgoing = f.outgoing[:0]
	for _, l := range legs {
		for i := range l.exchange.Calls {
			f.outgoing = append(f.outgoing, outgoing{conversation: l.conversation, exchange: l.exchange, call: &l.exchange.Calls[i]})
		}
	}
	f.execute(ctx, legs)
	for _, l := range legs {
		l.conversation.arrive(l.exchange, server)
	}
	clear(f.outgoing)
	clear(legs)
}

// execute runs what is outgoing. Several calls that renew go over a connection that is there, rather than over one that
// has to be made: go-redis has a pool for pipelines alone, and far away a connection takes three round trips.
func (f *flight) execute(ctx context.Context, legs []leg) {
	if len(f.outgoing) > 1 && slices.ContainsFunc(legs, func(l leg) bool { return l.exchange.Renews > 0 }) {
		if conn := idleConn(f.wire.client); conn != nil {
			execute(ctx, conn, conn.Pipeline(), f.outgoing)
			_ = conn.Close() // it goes back to its pool
			return
		}
	}
	execute(ctx, f.wire.client, f.pipe, f.outgoing)
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

// attempt bounds what the client does for legs, where the client lets a context bound it. The desks give up by
// themselves, before; the client has the time to connect, and for its own retries, whose error says more than a
// deadline.
//
// To make such a context takes longer than all else that is made for a trip. One bounds the trips of a
// flight until a quarter of its time is over.
func (f *flight) attempt(legs []leg) context.Context {
	w := f.wire
	var longest time.Duration
	for _, l := range legs {
		longest = max(longest, l.exchange.Patience)
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
func (w *wire) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed, w.ready = true, nil
}

// wait returns when nothing is under way any more. A call that the client does not let a context end
// lasts until the client's own timeouts end it.
func (w *wire) wait() { w.flights.Wait() }
