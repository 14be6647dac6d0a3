package lease

import (
	"container/heap"
	"sync"
	"time"

	"github.com/benbjohnson/clock"
)

// A renewer knows when each conversation wants to be called next, and nothing of Redis: it calls, and
// never waits for what comes of it. It is one timer, whose function runs in one goroutine while
// something is due; between two calls there is none, whatever the number of leases.
//
// What is due within slack of the first goes with it, so that many semaphores share one pipeline.
// Safe for concurrent use.
type renewer struct {
	clock clock.Clock
	now   func() instant
	call  func([]*conversation)

	mu      sync.Mutex
	due     dueHeap
	timer   *clock.Timer
	armed   instant // when the timer fires; zero: it does not
	calling sync.Mutex
	stopped bool
}

const slack = 50 * time.Millisecond

// schedule sees to it that c is called at at, or earlier.
func (r *renewer) schedule(c *conversation, at instant) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	switch {
	case c.heapIndex == 0:
		c.dueAt = at
		heap.Push(&r.due, c)
	case at.mono < c.dueAt.mono:
		c.dueAt = at
		heap.Fix(&r.due, c.heapIndex-1)
	default:
		return // called too early, it says again when it wants to be
	}
	r.armLocked()
}

// forget takes c off the list.
func (r *renewer) forget(c *conversation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if c.heapIndex > 0 && !r.stopped {
		heap.Remove(&r.due, c.heapIndex-1)
	}
}

// armLocked sets the timer to the first call that is due, unless it fires before that anyway: moving
// it back would cost every lone acquire and release more than one call too many now and then.
func (r *renewer) armLocked() {
	if len(r.due) == 0 || r.stopped {
		return
	}
	first := r.due[0].dueAt
	if !r.armed.isZero() && r.armed.mono <= first.mono {
		return
	}
	r.armed = first
	wait := max(r.now().until(first), 0)
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
	r.armed = instant{}
	now := r.now()
	var batch []*conversation
	if len(r.due) > 0 && now.reached(r.due[0].dueAt) {
		horizon := now.add(slack)
		for len(r.due) > 0 && horizon.reached(r.due[0].dueAt) {
			batch = append(batch, heap.Pop(&r.due).(*conversation))
		}
	}
	r.mu.Unlock()
	if len(batch) > 0 {
		r.call(batch) // each says again when it wants to be called
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
	r.due = nil
	r.mu.Unlock()
	r.calling.Lock() // the call that is under way is over when it lets go
	defer r.calling.Unlock()
}

// A dueHeap orders conversations by the time of their next call (container/heap).
type dueHeap []*conversation

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].dueAt.mono < h[j].dueAt.mono }
func (h dueHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapIndex, h[j].heapIndex = i+1, j+1
}

func (h *dueHeap) Push(x any) {
	c := x.(*conversation)
	*h = append(*h, c)
	c.heapIndex = len(*h)
}

func (h *dueHeap) Pop() any {
	old := *h
	last := len(old) - 1
	c := old[last]
	old[last] = nil
	*h = old[:last]
	c.heapIndex = 0
	return c
}
