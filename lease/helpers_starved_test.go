package lease_test

import (
	"sync"
	"testing"
	"time"
)

// A starvation records when the machine did not let this process run, so that a test which judges by real time does not
// take a busy machine for a fault of the code: a goroutine that sleeps for a millisecond should wake up after one.
type starvation struct {
	mu   sync.Mutex
	gaps []gap
}

type gap struct{ from, to time.Time }

// watchStarvation records until the test ends.
func watchStarvation(t testing.TB) *starvation {
	s := &starvation{}
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			due := time.Now().Add(time.Millisecond)
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
			if now := time.Now(); now.Sub(due) > time.Millisecond {
				s.mu.Lock()
				s.gaps = append(s.gaps, gap{due, now})
				s.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() { close(stop); watching.Wait() })
	return s
}

// between is for how long, in this time, the process wanted to run and did not.
func (s *starvation) between(from, to time.Time) (sum time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.gaps {
		if g.to.After(from) && g.from.Before(to) {
			start, end := g.from, g.to
			if start.Before(from) {
				start = from
			}
			if end.After(to) {
				end = to
			}
			sum += end.Sub(start)
		}
	}
	return sum
}
