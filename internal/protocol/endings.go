package protocol

import "container/heap"

// endings are the waiters that have a MaxWait, the first end in front: an end costs the logarithm of their
// number, and not a walk over all that wait.
type endings struct{ list []*Waiter }

func (e *endings) add(w *Waiter) {
	if !w.Deadline.IsZero() {
		heap.Push(e, w)
	}
}

func (e *endings) remove(w *Waiter) {
	if w.ending > 0 {
		heap.Remove(e, w.ending-1)
	}
}

// first is the first end; zero: there is none.
func (e *endings) first() Instant {
	if len(e.list) == 0 {
		return Instant{}
	}
	return e.list[0].Deadline
}

// Len, Less, Swap, Push and Pop are container/heap's.

func (e *endings) Len() int { return len(e.list) }

func (e *endings) Less(i, j int) bool {
	return e.list[i].Deadline.Mono < e.list[j].Deadline.Mono
}

func (e *endings) Swap(i, j int) {
	e.list[i], e.list[j] = e.list[j], e.list[i]
	e.list[i].ending, e.list[j].ending = i+1, j+1
}

func (e *endings) Push(x any) {
	w := x.(*Waiter)
	e.list = append(e.list, w)
	w.ending = len(e.list)
}

func (e *endings) Pop() any {
	last := len(e.list) - 1
	w := e.list[last]
	e.list[last] = nil
	e.list = e.list[:last]
	if last == 0 {
		e.list = nil
	}
	w.ending = 0
	return w
}
