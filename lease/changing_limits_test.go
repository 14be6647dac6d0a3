package lease_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// A limit that follows each request, as in a service with a limit for each tenant: 1,000 requests a second, and another
// capacity and TTL every 50 ms. No request fails, and no more leases live than the largest capacity that anybody could
// go by allows.
func TestLimitsMayChangeWhileTheyAreUsed(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		w.underChangingLimits(m, 2, 5, 3, 1, 8, 4)
		w.underChangingLimits(m, 2, 1, 3) // the largest before are over with the leases that they allowed
	})
}

func (w *world) underChangingLimits(m *lease.Manager, capacities ...int) {
	w.Helper()
	var mu sync.Mutex
	live, granted := 0, 0
	var all sync.WaitGroup
	for range 1000 {
		time.Sleep(time.Millisecond)
		now := time.Now()
		s := w.semaphore(m, capacities[int(now.UnixMilli()/50)%len(capacities)], func(c *lease.Config) {
			c.TTL = time.Duration(2+now.UnixMilli()/50%3) * time.Second
			c.MaxWait = 10 * time.Second
		})
		all.Go(func() {
			err := s.Do(context.Background(), func(context.Context) error {
				mu.Lock()
				live, granted = live+1, granted+1
				if most := slices.Max(capacities); live > most {
					w.Errorf("%d live, and nobody declares more than %d", live, most)
				}
				mu.Unlock()
				time.Sleep(3 * time.Millisecond)
				mu.Lock()
				live--
				mu.Unlock()
				return nil
			})
			if err != nil {
				w.Error(err)
			}
		})
	}
	all.Wait()
	if granted != 1000 {
		w.Errorf("%d of 1,000 were served", granted)
	}
}

// A limit of 1 is raised to 3 while it is used up: the next three are served, though the first goes on.
func TestALimitThatIsRaisedIsInForceAtOnce(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		first := w.acquire(w.semaphore(m, 1))
		raised := w.semaphore(m, 3, func(c *lease.Config) { c.MaxWait = time.Second })
		second, third := w.acquire(raised), w.acquire(raised)
		for _, l := range []*lease.Lease{first, second, third} {
			w.mustHold(l)
		}
		if _, err := raised.TryAcquire(context.Background()); err == nil {
			w.Error("a fourth lease on three permits")
		}
		if _, err := w.semaphore(m, 1).TryAcquire(context.Background()); err == nil {
			w.Error("a lease by a limit of 1, where three are held")
		}
	})
}

// A caller of a process that also has a handle of a smaller capacity goes by its own: the poll of the other's callers does
// not refuse it.
func TestAHeavyCallerOfALargerHandleIsNotRefused(t *testing.T) {
	inAnHour(t, func(w *world) {
		other, _ := w.process("other")
		m, _ := w.process("p")
		held := w.acquire(w.semaphore(other, 4))
		large, small := w.semaphore(m, 4), w.semaphore(m, 3)
		served := make(chan error, 2)
		ask := func(s *lease.Semaphore, weight int) {
			served <- s.Do(context.Background(), func(context.Context) error { return nil }, lease.Weight(weight))
		}
		go ask(large, 4)
		time.Sleep(time.Second)
		go ask(small, 1)
		time.Sleep(2 * time.Second) // both have polled
		_ = held.Release()
		for range 2 {
			if err := <-served; err != nil {
				w.Error(err)
			}
		}
	})
}
