package lease

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/eqworks/passbuddy/internal/hooks"
	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/internal/transport"
	"github.com/eqworks/passbuddy/lease/scripts"
)

// A driver runs the state of one semaphore: it locks the state, sends its batches, keeps its appointments with the renewer
// and the watchdog, and ends its leases. It exists while its state has something to do, and a second longer: who uses a
// semaphore once will soon use it again.
//
// Its lock comes before those of manager, renewer and transport. It is never held while a lease or a context ends.
type driver struct {
	// immutable
	manager *Manager
	name    string // of the semaphore

	keys atomic.Pointer[scripts.Keys] // of handle: the transport reads them without the lock

	mu                sync.Mutex
	handle            *Semaphore // the newest: what concerns all callers is its
	state             protocol.State
	dead              bool                // off the manager's list: find another
	listens           bool                // counted by the subscriber
	round             transport.Round     // that carries state.Batch
	server            *transport.Server   // who answered last
	clock             protocol.ClockWatch // what its answers tell of its clock
	idleAt            protocol.Instant    // since when there is nothing to do; zero: there is
	immediateRenewals []immediateRenewal  // that callers wait for: renewer.go
	renewed           bool                // by the answer that it has just taken

	work place // in the renewer's list
	end  place // in the watchdog's
}

// finish is called after the methods of the state, with the lock held. It does what the state has decided:
//
//  1. It tells the callers of renewNow, the events and the subscriber, and makes the appointments.
//  2. It releases the lock.
//  3. It ends the leases that the state has ended, and sends what the state wants sent. inline says that this goroutine
//     may carry the batch itself.
func (d *driver) finish(now protocol.Instant, inline bool) {
	s := &d.state
	d.confirmRenewals()
	inline = inline && s.IsQuick() // who carries a batch waits for the client, which may take long
	send := s.Wants(now)
	if send {
		s.AtTransport = true
	}
	left := s.TakeEffects()
	if len(left.Events) > 0 {
		d.manager.notifier.addEvents(d.name, left.Events)
	}
	if s.Listening != d.listens {
		d.listens = s.Listening
		d.manager.subscriber.Listen(d.listens)
	}
	cfg := &d.handle.cfg
	var stuck transport.Round
	if s.Batch == nil {
		stuck, d.round = d.round, transport.Round{} // the state gave it up, if there was one
	}
	if s.Idle() {
		d.idle(now)
	} else {
		d.idleAt = protocol.Instant{}
		if at := s.Next(); !at.IsZero() {
			d.manager.renewer.schedule(d, at, d.renewed)
		}
		d.watch()
	}
	d.renewed = false
	d.mu.Unlock()

	for _, h := range left.Ends {
		lost := h.Holder.(*hold)
		lost.end(lost.errorOf(h.Ending))
	}
	d.manager.transport.GiveUp(stuck)
	if send && !inline {
		d.manager.transport.Send(d, false)
	}
	if len(left.Ends)+len(left.Warnings) > 0 {
		go func() { // a slow logger holds up nothing, and may close the manager
			for _, h := range left.Ends {
				d.manager.report(h.Holder.(*hold))
			}
			for _, n := range left.Warnings {
				d.manager.note(cfg, n)
			}
		}()
	}
	if send && inline {
		d.manager.transport.Send(d, true)
	}
}

// follow has the driver go by a newer handle.
func (d *driver) follow(s *Semaphore) {
	if d.handle.state != s.state {
		d.state.Reconfigure(d.manager.now(), &s.state)
		d.keys.Store(s.keys)
	}
	d.handle = s
}

// linger is how long a driver outlives its state's work.
const linger = time.Second

// idle retires d when it has had nothing to do for a while, or the manager is on its way out.
func (d *driver) idle(now protocol.Instant) {
	if d.idleAt.IsZero() {
		d.idleAt = now
	}
	until := d.idleAt.Add(linger)
	if now.Reached(until) || d.manager.isDraining() {
		d.retire()
		return
	}
	d.manager.renewer.schedule(d, until, false)
}

// watch tells the watchdog when the first trust window ends. That depends on nothing else: a renewal that never returns
// cannot hold it up. When a renewal moves the end, the appointment stays: the watchdog then calls tick too early, and
// watch makes another appointment.
func (d *driver) watch() {
	if at := d.state.EndAt; !at.IsZero() {
		d.manager.watchdog.schedule(d, at, false)
	}
}

// step calls methods of the state, with the lock held, and does what the state has decided. A driver that is retired does
// nothing.
func (d *driver) step(do func(now protocol.Instant)) {
	d.mu.Lock()
	if d.dead {
		d.mu.Unlock()
		return
	}
	now := d.manager.now()
	do(now)
	d.finish(now, false)
}

// tick is the renewer's call, and the watchdog's.
func (d *driver) tick() {
	d.step(func(now protocol.Instant) { d.state.Tick(now) })
}

// Keys are the semaphore's, for the transport, with what the newest handle declares.
func (d *driver) Keys() *scripts.Keys { return d.keys.Load() }

// Depart returns what the state sends now, nil if nothing.
func (d *driver) Depart(round transport.Round) *protocol.Batch {
	d.mu.Lock()
	if d.dead {
		d.mu.Unlock()
		return nil
	}
	now := d.manager.now()
	known := d.clock.Newest()
	if known.Micros == 0 {
		known = d.server.Reading()
	}
	d.state.Needed = d.server.Needed()
	d.state.Spare = batches.Get().(*protocol.Batch)
	batch := d.state.Depart(now, known)
	if d.state.Spare != nil { // it was not needed
		batches.Put(d.state.Spare)
		d.state.Spare = nil
	}
	if batch != nil {
		d.round = round
	}
	d.finish(now, false)
	return batch
}

// batches are those that have arrived. Nobody knows one of them any more: a state forgets a batch when it gives it up, and the
// transport when it hands it back, which it does once.
var batches = sync.Pool{New: func() any { return new(protocol.Batch) }}

// Arrive takes the answers to batch from the given server; nil: unknown.
func (d *driver) Arrive(batch *protocol.Batch, server *transport.Server) {
	d.mu.Lock()
	now := d.manager.now()
	sameServer := server == nil || d.server == server
	if !sameServer {
		d.server = server // its clock is compared with that of the one before
	}
	if server != nil && batch.IsAnswered() && batch.Acknowledged >= batch.Replicas && !batch.Twice {
		server.Answered(now.Mono - batch.Sent.Mono)
	}
	moved, doubtful, contradicts := false, false, false
	var forward time.Duration
	var step protocol.Reading
	for i := range batch.Calls {
		if call := &batch.Calls[i]; call.Failure.Err != nil {
			if transport.IsMoved(call.Failure.Err) && server != nil && server.Forget() {
				moved = true // another server may answer from now on
			}
		} else if call.Verb != protocol.Release && server != nil {
			r := protocol.Reading{Sent: batch.Sent, Received: now, Micros: call.Server}
			contradicts = server.Observe(r) || contradicts
			doubtful = doubtful || d.clock.Doubts(r)
			if by, changed := d.clock.Observe(r); changed {
				forward, step = max(forward, by), r
			}
		}
	}
	for i := range batch.Calls { // the clock may have jumped between two of them
		if call := &batch.Calls[i]; call.Failure.Err == nil && call.Verb != protocol.Release {
			call.ClockAhead = d.clock.AheadSince(protocol.Reading{Sent: batch.Sent, Received: now, Micros: call.Server})
		}
	}
	if d.dead {
		d.mu.Unlock()
		return
	}
	if d.state.Batch == batch {
		d.round = transport.Round{}
	}
	changed := step.Micros != 0
	if changed || moved {
		d.state.Shorten(now, forward) // before what batch brings: that is measured by the new clock
	}
	if doubtful {
		d.state.RenewNow(now)
	}
	d.state.Arrive(now, batch)
	d.renewed = batch.Renews > 0 // the appointment is that for giving the batch up, long before the next
	d.finish(now, false)
	batches.Put(batch)
	switch {
	case changed && sameServer && (server.TakeStep(step) || contradicts):
		d.manager.clockStepped(d, server, step, forward)
	case moved || contradicts:
		d.manager.serverMoved(d, server)
	}
}

// notified takes a message from the channel.
func (d *driver) notified(n protocol.Notification) {
	d.step(func(now protocol.Instant) { d.state.Notified(now, n) })
}

// subscribed passes on that notifications arrive from now on.
func (d *driver) subscribed() {
	d.step(func(now protocol.Instant) { d.state.Subscribed(now) })
}

// hear says that another semaphore has found a step of the server's clock. step.Micros is 0 where all that is known is
// that another server may answer from now on.
func (d *driver) hear(server *transport.Server, step protocol.Reading) {
	d.mu.Lock()
	if d.dead || d.server != server {
		d.mu.Unlock()
		return
	}
	forward, changed := d.clock.Hear(step)
	if step.Micros != 0 && !changed {
		d.mu.Unlock()
		return
	}
	now := d.manager.now()
	d.state.Shorten(now, forward)
	d.finish(now, false)
}

// close ends everything; the manager is closed.
func (d *driver) close() {
	d.step(func(now protocol.Instant) { d.state.Close(now) })
}

// retire takes d off the lists. A pipeline of it that was given up may still come back: to a dead state.
func (d *driver) retire() {
	d.dead = true
	d.manager.renewer.forget(d)
	d.manager.watchdog.forget(d)
	d.manager.retired(d)
}

func init() {
	hooks.Lose = func(l any) { l.(*Lease).hold.lose() }
	hooks.Settled = func(m any, answered bool) (time.Time, bool) { return m.(*Manager).settled(answered) }
	hooks.IgnoredMessages = func(m any) int64 { return m.(*Manager).ignored.Load() }
}

// lose does what the end of the trust window would do. Nothing happens to a lease that has ended.
func (h *hold) lose() {
	d := h.driver
	d.step(func(now protocol.Instant) {
		d.state.Tick(now)
		if g := h.Grant; g.State == protocol.Held && g.Holding == &h.Holding {
			d.state.Lose(now, g, protocol.Expired)
		}
	})
}
