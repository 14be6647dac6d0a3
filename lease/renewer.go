package lease

import (
	"cmp"
	"container/heap"
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
	due     dueHeap
	timer   *clock.Timer
	armed   protocol.Instant // when the timer fires; zero: it does not
	calling sync.Mutex
	stopped bool
}

// An appointment is a driver's place in a renewer's list. The renewer's mu guards it.
type appointment struct {
	at    protocol.Instant
	index int // from 1; 0: not in the list
}

// newRenewer makes one of a manager's renewers; of says where a driver keeps its appointment.
func newRenewer(m *Manager, slack time.Duration, of func(*driver) *appointment) *renewer {
	return &renewer{clock: m.clock, now: m.now, slack: slack, due: dueHeap{of: of}}
}

// schedule sees to it that d is called at at, or earlier.
func (r *renewer) schedule(d *driver, at protocol.Instant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	switch due := r.due.of(d); {
	case due.index == 0:
		due.at = at
		heap.Push(&r.due, d)
	case at.Mono < due.at.Mono:
		due.at = at
		heap.Fix(&r.due, due.index-1)
	default:
		return // called too early, it says again when it wants to be
	}
	r.armLocked()
}

// forget takes d off the list.
func (r *renewer) forget(d *driver) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if due := r.due.of(d); due.index > 0 && !r.stopped {
		heap.Remove(&r.due, due.index-1)
	}
}

// armLocked sets the timer to the first call that is due, unless it fires before that anyway: moving
// it back would cost every lone acquire and release more than one call too many now and then.
func (r *renewer) armLocked() {
	if r.due.Len() == 0 || r.stopped {
		return
	}
	first := r.due.at(0)
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
	if r.due.Len() > 0 && now.Reached(r.due.at(0)) {
		horizon := now.Add(r.slack)
		for r.due.Len() > 0 && horizon.Reached(r.due.at(0)) {
			batch = append(batch, heap.Pop(&r.due).(*driver))
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
	if r.due.Len() > 0 {
		next = r.due.at(0)
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

// A dueHeap orders drivers by the time of their next call (container/heap).
type dueHeap struct {
	list []*driver
	of   func(*driver) *appointment
}

func (h *dueHeap) at(i int) protocol.Instant { return h.of(h.list[i]).at }
func (h *dueHeap) Len() int                  { return len(h.list) }
func (h *dueHeap) Less(i, j int) bool        { return h.at(i).Mono < h.at(j).Mono }
func (h *dueHeap) Swap(i, j int) {
	h.list[i], h.list[j] = h.list[j], h.list[i]
	h.of(h.list[i]).index, h.of(h.list[j]).index = i+1, j+1
}

func (h *dueHeap) Push(x any) {
	d := x.(*driver)
	h.list = append(h.list, d)
	h.of(d).index = len(h.list)
}

func (h *dueHeap) Pop() any {
	last := len(h.list) - 1
	d := h.list[last]
	h.list[last] = nil
	h.list = h.list[:last]
	h.of(d).index = 0
	return d
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
