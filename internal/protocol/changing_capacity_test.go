package protocol

import "testing"

// declaring asks for one permit by a capacity of its own.
func (s *stateTest) declaring(now Instant, capacity int) *Waiter {
	w := &Waiter{Weight: 1, Capacity: capacity, Done: make(chan struct{}), Holding: &Holding{Holder: reachable{}}}
	s.Ask(now, w)
	return w
}

// A call by a smaller capacity than another waiter's says so, as long as that one waits.
func TestACallByASmallerCapacitySaysThatOthersGoByALargerOne(t *testing.T) {
	s := newStateTest(t, 3)
	s.declaring(at(0), 2)
	large := s.declaring(at(0), 4)
	s.declaring(at(0), 0) // by the process's
	batch := s.mustDepart(at(0), Acquire, Acquire, Acquire)
	for i, narrow := range []bool{true, false, true} {
		if c := batch.Calls[i]; c.Narrow != narrow {
			t.Errorf("by a capacity of %d: narrow is %t", c.Capacity, c.Narrow)
		}
	}
	run(batch, at(0), 0)
	s.Arrive(at(0), batch)
	s.Leave(at(0), large, ReasonCancelled)
	s.pollAt = at(0)
	for _, c := range s.Depart(at(0), Reading{}).Calls {
		if c.Verb == Acquire && c.Narrow != (c.Capacity == 2) {
			t.Errorf("by a capacity of %d: narrow is %t", c.Capacity, c.Narrow)
		}
	}
	if n := len(s.Waiting.capacities); n != 2 {
		t.Errorf("%d capacities are counted", n)
	}
}
