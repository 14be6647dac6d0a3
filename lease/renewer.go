package lease

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/eqworks/passbuddy/internal/protocol"
)

// A renewer knows when each driver wants to be called next, and nothing of Redis: it calls, and
// never waits for what comes of it. It is one timer, whose function runs in one goroutine while
// something is due; between two calls there is none, whatever the number of leases. A manager has two, so
// that a renewal which never returns cannot hold up the end of a trust window: one calls drivers to
// work, the other where a window ends.
//
// What is due within slack of the first goes with it, so that many semaphores share one pipeline.
// Safe for concurrent use.
type renewer struct {
	clock clock.Clock
	now   func() protocol.Instant
	slack time.Duration

	mu      sync.Mutex
	due     appointments
	timer   *clock.Timer
	armed   protocol.Instant // when the timer fires; zero: it does not
	calling sync.Mutex
	stopped bool
}

// newRenewer makes one of a manager's renewers; of says where a driver keeps its place.
func newRenewer(m *Manager, slack time.Duration, of func(*driver) *place) *renewer {
	return &renewer{clock: m.clock, now: m.now, slack: slack, due: appointments{of: of}}
}

// schedule sees to it that d is called at at, or earlier. With exactly it is not called before, which costs more than one call
// in vain now and then, and less than one each time.
func (r *renewer) schedule(d *driver, at protocol.Instant, exactly bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	switch place := *r.due.of(d); {
	case place == 0:
		r.due.push(appointment{at, d})
	case exactly || at.Mono < r.due.list[place-1].at.Mono:
		r.due.move(place, at)
	default:
		return // called too early, it says again when it wants to be
	}
	r.armLocked()
}

// forget takes d off the list.
func (r *renewer) forget(d *driver) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if place := *r.due.of(d); place > 0 && !r.stopped {
		r.due.remove(place)
	}
}

// armLocked sets the timer to the first call that is due, unless it fires before that anyway: moving
// it back would cost every lone acquire and release more than one call too many now and then.
func (r *renewer) armLocked() {
	if len(r.due.list) == 0 || r.stopped {
		return
	}
	first := r.due.list[0].at
	if !r.armed.IsZero() && r.armed.Mono <= first.Mono {
		return
	}
	r.armed = first
	wait := max(r.now().Until(first), 0)
	if r.timer == nil {
		r.timer = r.clock.AfterFunc(wait, r.fire)
	} else {
		r.timer.Reset(wait)
	}
}

func (r *renewer) fire() {
	r.calling.Lock()
	defer r.calling.Unlock()
	r.mu.Lock()
	if r.stopped {
		r.mu.Unlock()
		return
	}
	r.armed = protocol.Instant{}
	now := r.now()
	var batch []*driver
	if len(r.due.list) > 0 && now.Reached(r.due.list[0].at) {
		horizon := now.Add(r.slack)
		for len(r.due.list) > 0 && horizon.Reached(r.due.list[0].at) {
			batch = append(batch, r.due.remove(1))
		}
	}
	r.mu.Unlock()
	for _, d := range batch {
		d.tick() // it says again when it wants to be called
	}
	r.mu.Lock()
	r.armLocked()
	r.mu.Unlock()
}

// quiet reports whether it calls nobody, and whom it should have called by now is called; and when the next is due.
func (r *renewer) quiet() (next protocol.Instant, quiet bool) {
	if !r.calling.TryLock() {
		return next, false
	}
	defer r.calling.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if len(r.due.list) > 0 {
		next = r.due.list[0].at
		if !r.armed.IsZero() && r.armed.Mono < next.Mono {
			next = r.armed // the timer fires, and finds nothing to do
		}
	}
	return next, !protocol.Due(now, next) && !protocol.Due(now, r.armed)
}

// stop ends all calls and waits for the one that is under way.
func (r *renewer) stop() {
	r.mu.Lock()
	r.stopped = true
	if r.timer != nil {
		r.timer.Stop()
	}
	r.due.list, r.armed = nil, protocol.Instant{}
	r.mu.Unlock()
	r.calling.Lock() // the call that is under way is over when it lets go
	defer r.calling.Unlock()
}

// An immediateRenewal is a caller who waits for a renewal that was sent since it asked.
type immediateRenewal struct {
	grant *protocol.Grant
	end   protocol.Instant // a window that ends then or later comes from such a renewal
	done  chan bool
}

// renewNow renews the permit at once and waits for Redis's answer. Trouble is ridden out, as by any renewal.
// It returns nil when the permit was renewed, and the reason when the lease ended first or ctx did.
func (h *hold) renewNow(ctx context.Context) error {
	d := h.driver
	d.mu.Lock()
	if d.dead {
		d.mu.Unlock()
		return h.endAsDecided()
	}
	now := d.manager.now()
	d.state.Tick(now)
	x := immediateRenewal{grant: h.Grant, end: now.Add(d.state.Window), done: make(chan bool, 1)}
	d.immediateRenewals = append(d.immediateRenewals, x)
	d.state.RenewNow(now)
	d.finish(now, false)
	select {
	case renewed := <-x.done:
		if renewed {
			return nil
		}
		return h.endAsDecided()
	case <-ctx.Done():
		return h.semaphore.waitEnded(ctx, nil)
	}
}

// endAsDecided ends the lease of a permit that the state no longer holds, and returns why. Whoever took it
// away may not have come to that yet.
func (h *hold) endAsDecided() error {
	h.driver.mu.Lock()
	why := h.Ending
	h.driver.mu.Unlock()
	return h.end(cmp.Or(h.errorOf(why), ErrReleased))
}

// confirmRenewals tells those whose permit was renewed, or is no longer held. d.mu is held.
func (d *driver) confirmRenewals() {
	if len(d.immediateRenewals) == 0 {
		return
	}
	waiting := d.immediateRenewals[:0]
	for _, x := range d.immediateRenewals {
		switch {
		case x.grant.State != protocol.Held:
			x.done <- false
		case x.grant.Until.End().Mono >= x.end.Mono:
			x.done <- true
		default:
			waiting = append(waiting, x)
		}
	}
	clear(d.immediateRenewals[len(waiting):])
	if d.immediateRenewals = waiting; len(waiting) == 0 {
		d.immediateRenewals = nil
	}
}
