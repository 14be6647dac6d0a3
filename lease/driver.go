package lease

import (
	"sync"
	"time"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/lease/scripts"
)

// A driver is a state at work: its lock, its places in the renewer's, the watchdog's and the transport's
// lists. It exists while its state has something to do, and lingers for a moment:
// who uses a semaphore once will soon use it again.
//
// Its lock comes before those of manager, renewer and transport; no lease and no context is ended under it.
type driver struct {
	// immutable
	manager *Manager
	cfg     *Config
	keys    *scripts.Keys

	mu                sync.Mutex
	state             protocol.State
	dead              bool                // off the manager's list: find another
	listens           bool                // counted by the subscriber
	pipeline          *pipeline           // that carries state.Batch
	round             int                 // and which of its rounds
	server            *serverTime         // who answered last
	clock             protocol.ClockWatch // what its answers tell of its clock
	idleAt            protocol.Instant    // since when there is nothing to do; zero: there is
	immediateRenewals []immediateRenewal  // that callers wait for: renew_now.go

	work appointment // the renewer's
	end  appointment // the watchdog's
}

// unlock ends what a caller of state methods began with c.mu.Lock: it sees to the timers, lets go of the
// lock, and only then ends the leases that the state has ended and sends what it wants sent. inline says
// that the caller may carry the batch itself.
func (c *driver) unlock(now protocol.Instant, inline bool) {
	d := &c.state
	c.confirmRenewals()
	send := d.Wants(now)
	if send {
		d.Queued = true
	}
	left := d.TakeEffects()
	if len(left.Events) > 0 {
		c.manager.notifier.add(c.cfg.Name, left.Events)
	}
	if d.Listening != c.listens {
		c.listens = d.Listening
		c.manager.subscriber.listen(c.listens)
	}
	var stuck *pipeline
	round := c.round
	if c.pipeline != nil && d.Batch == nil {
		stuck, c.pipeline = c.pipeline, nil // the state gave it up
	}
	if d.Idle() {
		c.rest(now)
	} else {
		c.idleAt = protocol.Instant{}
		if at := d.Next(); !at.IsZero() {
			c.manager.renewer.schedule(c, at)
		}
		c.watch()
	}
	c.mu.Unlock()

	for _, h := range left.Ends {
		lost := h.Holder.(*hold)
		lost.end(lost.errorOf(h.Ending))
	}
	if stuck != nil {
		c.manager.transport.giveUp(stuck, round)
	}
	if send && !inline {
		c.manager.transport.send(c, false)
	}
	if len(left.Ends)+len(left.Warnings) > 0 {
		go func() { // a slow logger holds up nothing, and may close the manager
			for _, h := range left.Ends {
				c.manager.report(h.Holder.(*hold))
			}
			for _, n := range left.Warnings {
				c.manager.note(c.cfg, n)
			}
		}()
	}
	if send && inline {
		c.manager.transport.send(c, true)
	}
}

// linger is how long a driver outlives its state's work.
const linger = time.Second

// rest retires c when it has had nothing to do for a while, or the manager is on its way out.
func (c *driver) rest(now protocol.Instant) {
	if c.idleAt.IsZero() {
		c.idleAt = now
	}
	until := c.idleAt.Add(linger)
	if now.Reached(until) || c.manager.isDraining() {
		c.retire()
		return
	}
	c.manager.renewer.schedule(c, until)
}

// watch keeps the watchdog's appointment no later than the end of the first trust window. It depends on
// nothing else: a renewal that never returns cannot hold it up. The appointment is not moved back when a
// renewal moves the end: it looks too early once, and makes another.
func (c *driver) watch() {
	if at := c.state.EndAt; !at.IsZero() {
		c.manager.watchdog.schedule(c, at)
	}
}

// tick is the renewer's call, and the watchdog's.
func (c *driver) tick() {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return
	}
	now := c.manager.now()
	c.state.Tick(now)
	c.unlock(now, false)
}

// depart returns what the state sends now, nil if nothing.
func (c *driver) depart(f *pipeline) *protocol.Batch {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return nil
	}
	now := c.manager.now()
	known := c.clock.Newest()
	if known.Micros == 0 {
		known = c.server.reading()
	}
	c.state.Needed = c.server.need()
	ex := c.state.Depart(now, known)
	if ex != nil {
		c.pipeline, c.round = f, f.round
	}
	c.unlock(now, false)
	return ex
}

// arrive takes what came of ex from the given server; nil: unknown.
func (c *driver) arrive(ex *protocol.Batch, server *serverTime) {
	c.mu.Lock()
	now := c.manager.now()
	sameServer := server == nil || c.server == server
	if !sameServer {
		c.server = server // its clock is compared with that of the one before
	}
	if server != nil && ex.IsAnswered() {
		server.answered(now.Mono - ex.Sent.Mono)
	}
	moved := false
	var forward time.Duration
	var step protocol.Reading
	for i := range ex.Calls {
		if call := &ex.Calls[i]; call.Failure.Err != nil {
			moved = moved || isMoved(call.Failure.Err) && server != nil && server.forget()
		} else if call.Verb != protocol.Release && server != nil {
			r := protocol.Reading{Sent: ex.Sent, Received: now, Micros: call.Server}
			server.observe(r)
			if by, changed := c.clock.Observe(r); changed {
				forward, step = max(forward, by), r
			}
			ex.Behind = max(ex.Behind, c.clock.Behind(r))
		}
	}
	if c.dead {
		c.mu.Unlock()
		return
	}
	if c.state.Batch == ex {
		c.pipeline = nil
	}
	changed := step.Micros != 0
	if changed && forward == 0 {
		c.state.SetBack = true
	}
	if changed || moved {
		c.state.Shorten(now, forward) // before what ex brings: that is measured by the new clock
	}
	c.state.Arrive(now, ex)
	c.unlock(now, false)
	switch {
	case changed && sameServer && server.isNews(step):
		c.manager.clockStepped(c, server, step, forward)
	case moved:
		c.manager.serverMoved(c, server)
	}
}

// notified takes a message from the channel.
func (c *driver) notified(p protocol.Notification) {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return
	}
	now := c.manager.now()
	c.state.Notified(now, p)
	c.unlock(now, false)
}

// subscribed passes on that notifications arrive from now on.
func (c *driver) subscribed() {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return
	}
	now := c.manager.now()
	c.state.Subscribed(now)
	c.unlock(now, false)
}

// hear passes on that another semaphore has found a step of the server's clock: step.micros is 0 where the server only
// may be another one from now on.
func (c *driver) hear(server *serverTime, step protocol.Reading) {
	c.mu.Lock()
	if c.dead || c.server != server {
		c.mu.Unlock()
		return
	}
	forward, changed := c.clock.Hear(step)
	if step.Micros != 0 && !changed {
		c.mu.Unlock()
		return
	}
	now := c.manager.now()
	if changed && forward == 0 {
		c.state.SetBack = true
	}
	c.state.Shorten(now, forward)
	c.unlock(now, false)
}

// close ends everything; the manager is closed.
func (c *driver) close() {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return
	}
	now := c.manager.now()
	c.state.Close(now)
	c.unlock(now, false)
}

// retire takes c off the lists. A pipeline of it that was given up may still come back: to a dead state.
func (c *driver) retire() {
	c.dead = true
	c.manager.renewer.forget(c)
	c.manager.watchdog.forget(c)
	c.manager.retired(c)
}
