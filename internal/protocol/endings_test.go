package protocol

import (
	"fmt"
	"math/bits"
	"testing"
	"time"
)

// until asks for one permit, with a wait that ends at deadline.
func (s *stateTest) until(now, deadline Instant) *Waiter {
	w := &Waiter{Weight: 1, Deadline: deadline, Done: make(chan struct{}), Holding: &Holding{Holder: reachable{}}}
	s.Ask(now, w)
	return w
}

func TestStateEndsEachWaitAtItsOwnTime(t *testing.T) {
	const n = 300
	s := newStateTest(t, 1)
	ends := map[int]*Waiter{}
	for i := range n {
		ms := 1 + i*7%n // in no order
		ends[ms] = s.until(at(0), at(time.Duration(ms)*time.Millisecond))
	}
	for ms, w := range ends {
		if ms%3 == 0 {
			s.Leave(at(0), w, ReasonCancelled)
		}
	}
	for ms := 1; ms <= n; ms++ {
		now := at(time.Duration(ms) * time.Millisecond)
		if s.Tick(now.Add(-time.Microsecond)); ms%3 > 0 {
			s.mustWait(ends[ms])
		}
		if s.Tick(now); ms%3 > 0 {
			s.mustHaveFailed(ends[ms], Unanswered, ErrNoReply) // nobody has looked whether there is room
		}
	}
	if s.Waiting.Len != 0 || len(s.endings.list) != 0 {
		t.Fatalf("%d still wait, %d ends are left", s.Waiting.Len, len(s.endings.list))
	}
}

// The end of a wait moves the waiters on one path through the heap, and no others.
func TestStateEndsAWaitWithoutAWalkOverAllThatWait(t *testing.T) {
	for _, n := range []int{100, 1000, 10000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			s := newStateTest(t, 1)
			for i := range n {
				s.until(at(0), at(time.Duration(1+i*7919%n)*time.Millisecond))
			}
			for ms := 1; ms <= n/2; ms++ {
				before := make([]*Waiter, len(s.endings.list))
				copy(before, s.endings.list)
				s.Tick(at(time.Duration(ms) * time.Millisecond))
				moved := 0
				for i, w := range s.endings.list {
					if before[i] != w {
						moved++
					}
				}
				if len(s.endings.list) != len(before)-1 || moved > bits.Len(uint(n)) {
					t.Fatalf("one end leaves %d of %d, and moves %d", len(s.endings.list), len(before), moved)
				}
			}
		})
	}
}

// BenchmarkEndOfAWait measures one end by MaxWait among n that wait.
func BenchmarkEndOfAWait(b *testing.B) {
	for _, n := range []int{100, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			cfg := configOf(1, testTTL)
			s := New(&cfg, 1, func(int, string) string { return "x" }, func() float64 { return 0 })
			wait := func(i int) {
				s.Ask(at(time.Duration(i)), &Waiter{Weight: 1, Deadline: at(time.Duration(i + n)), Done: make(chan struct{}), Holding: &Holding{Holder: reachable{}}})
			}
			for i := range n {
				wait(i)
			}
			b.ResetTimer()
			for i := range b.N {
				s.Tick(at(time.Duration(i + n)))
				wait(i + n)
			}
		})
	}
}
