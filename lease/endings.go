package lease

import "container/heap"

// endings are the waiters that have a MaxWait, the first end in front: an end costs the logarithm of their
// number, and not a walk over all that wait.
type endings struct{ list []*waiter }

func (e *endings) add(w *waiter) {
	if !w.deadline.isZero() {
		heap.Push(e, w)
	}
}

func (e *endings) remove(w *waiter) {
	if w.ending > 0 {
		heap.Remove(e, w.ending-1)
	}
}

// first is the first end; zero: there is none.
func (e *endings) first() instant {
	if len(e.list) == 0 {
		return instant{}
	}
	return e.list[0].deadline
}

// Len, Less, Swap, Push and Pop are container/heap's.

func (e *endings) Len() int { return len(e.list) }

func (e *endings) Less(i, j int) bool {
	return e.list[i].deadline.mono < e.list[j].deadline.mono
}

func (e *endings) Swap(i, j int) {
	e.list[i], e.list[j] = e.list[j], e.list[i]
	e.list[i].ending, e.list[j].ending = i+1, j+1
}

func (e *endings) Push(x any) {
	w := x.(*waiter)
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
