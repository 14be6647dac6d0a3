package lease

import (
	"sync"
	"time"

	"github.com/benbjohnson/clock"
)

// A conversation is a desk at work: its lock, its timer for the ends of windows, its places in the
// renewer's and the wire's lists. It exists while its desk has something to do.
//
// Its lock comes before those of manager, renewer and wire; no lease and no context is ended under it.
type conversation struct {
	// immutable
	manager *Manager
	keys    *keys

	mu      sync.Mutex
	desk    desk
	dead    bool         // off the manager's list: find another
	flight  *flight      // the pipeline that carries desk.flight
	trip    int          // and which of its trips
	server  *serverTime  // who answered last
	last    reading      // of its clock: a key's server is one, an address may hide several
	timer   *clock.Timer // calls wake at the end of a window, or before it
	timerAt instant      // zero: it is not set
	extends []extension  // that callers wait for: extend.go

	// the renewer's
	dueAt     instant
	heapIndex int // from 1; 0: not in the heap
}

// unlock ends what a caller of desk methods began with c.mu.Lock: it sees to the timers, lets go of the
// lock, and only then ends the leases that the desk has ended and sends what it wants sent. inline says
// that the caller may carry the exchange itself.
func (c *conversation) unlock(now instant, inline bool) {
	d := &c.desk
	c.settleExtensions()
	send := d.wants(now)
	if send {
		d.queued = true
	}
	ends := d.ends
	d.ends = nil
	var stuck *flight
	trip := c.trip
	if c.flight != nil && d.flight == nil {
		stuck, c.flight = c.flight, nil // the desk gave it up
	}
	if d.idle() {
		c.retire()
	} else {
		if at := d.next(); !at.isZero() {
			c.manager.renewer.schedule(c, at)
		}
		c.watch(now)
	}
	c.mu.Unlock()

	for _, h := range ends {
		h.end(h.ending)
	}
	if stuck != nil {
		c.manager.wire.giveUp(stuck, trip)
	}
	if send && !inline {
		c.manager.wire.send(c, false)
	}
	for _, h := range ends {
		c.manager.report(h)
	}
	if send && inline {
		c.manager.wire.send(c, true)
	}
}

// watch keeps the timer no later than the end of the first trust window. It depends on nothing else: a
// renewal that never returns cannot hold it up. Renewals move it, so that it seldom fires; what moves the
// end by little leaves it where it is, and it looks too early once.
func (c *conversation) watch(now instant) {
	at := c.desk.endAt
	if at.isZero() {
		return
	}
	if early := at.mono - c.timerAt.mono; !c.timerAt.isZero() && early >= 0 && early < c.desk.window/8 {
		return
	}
	c.timerAt = at
	wait := max(now.until(at), 0)
	if c.timer == nil {
		c.timer = c.manager.clock.AfterFunc(wait, c.wake)
	} else {
		c.timer.Reset(wait)
	}
}

func (c *conversation) wake() {
	c.mu.Lock()
	c.timerAt = instant{}
	if c.dead {
		c.mu.Unlock()
		return
	}
	now := c.manager.now()
	c.desk.tick(now)
	c.unlock(now, false)
}

// tick is the renewer's call.
func (c *conversation) tick() {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return
	}
	now := c.manager.now()
	c.desk.tick(now)
	c.unlock(now, false)
}

// depart returns what the desk sends now, nil if nothing.
func (c *conversation) depart(f *flight) *exchange {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return nil
	}
	now := c.manager.now()
	ex := c.desk.depart(now, c.server.reading())
	if ex != nil {
		c.flight, c.trip = f, f.trip
	}
	c.unlock(now, false)
	return ex
}

// arrive takes what came of ex from the given server; nil: unknown.
func (c *conversation) arrive(ex *exchange, server *serverTime) {
	c.mu.Lock()
	now := c.manager.now()
	if server != nil && c.server != server {
		c.server, c.last = server, reading{}
	}
	var forward time.Duration
	var changed bool
	for i := range ex.calls {
		if call := &ex.calls[i]; call.err != nil {
			if isMoved(call.err) && server != nil {
				changed = server.forget() || changed
			}
		} else if call.verb != release && server != nil {
			r := reading{sent: ex.sent, received: now, micros: call.reply[0]}
			server.observe(r)
			if r.sent.mono >= c.last.sent.mono {
				f, ch := c.last.jump(r)
				forward, changed = max(forward, f), changed || ch
				c.last = r
			}
		}
	}
	if c.dead {
		c.mu.Unlock()
		return
	}
	if c.desk.flight == ex {
		c.flight = nil
	}
	if changed {
		c.desk.shorten(now, forward) // before what ex brings: that is measured by the new clock
	}
	c.desk.arrive(now, ex)
	c.unlock(now, false)
	if changed {
		c.manager.clockChanged(c, server, forward)
	}
}

// shorten passes on that the server's clock has jumped.
func (c *conversation) shorten(server *serverTime, by time.Duration) {
	c.mu.Lock()
	if c.dead || c.server != server {
		c.mu.Unlock()
		return
	}
	now := c.manager.now()
	c.desk.shorten(now, by)
	c.unlock(now, false)
}

// close ends everything; the manager is closed.
func (c *conversation) close() {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return
	}
	now := c.manager.now()
	c.desk.close(now)
	c.unlock(now, false)
}

// retire takes c off the lists. A flight of it that was given up may still come back: to a dead desk.
func (c *conversation) retire() {
	c.dead = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.manager.renewer.forget(c)
	c.manager.retired(c)
}
