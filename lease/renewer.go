package lease

import (
	"container/heap"
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

// schedule sees to it that c is called at at, or earlier.
func (r *renewer) schedule(c *driver, at protocol.Instant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	switch due := r.due.of(c); {
	case due.index == 0:
		due.at = at
		heap.Push(&r.due, c)
	case at.Mono < due.at.Mono:
		due.at = at
		heap.Fix(&r.due, due.index-1)
	default:
		return // called too early, it says again when it wants to be
	}
	r.armLocked()
}

// forget takes c off the list.
func (r *renewer) forget(c *driver) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if due := r.due.of(c); due.index > 0 && !r.stopped {
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
	for _, c := range batch {
		c.tick() // it says again when it wants to be called
	}
	r.mu.Lock()
	r.armLocked()
	r.mu.Unlock()
}

// stop ends all calls and waits for the one that is under way.
func (r *renewer) stop() {
	r.mu.Lock()
	r.stopped = true
	if r.timer != nil {
		r.timer.Stop()
	}
	r.due.list = nil
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
	c := x.(*driver)
	h.list = append(h.list, c)
	h.of(c).index = len(h.list)
}

func (h *dueHeap) Pop() any {
	last := len(h.list) - 1
	c := h.list[last]
	h.list[last] = nil
	h.list = h.list[:last]
	h.of(c).index = 0
	return c
}
