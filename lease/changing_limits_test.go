package lease_test

import (
	"context"
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
		capacities := []int{2, 5, 3, 1, 8, 4}
		var mu sync.Mutex
		live, granted := 0, 0
		largest := func(since time.Time) (most int) { // declared from then on
			for at := since.Truncate(50 * time.Millisecond); !at.After(time.Now()); at = at.Add(50 * time.Millisecond) {
				most = max(most, capacities[int(at.UnixMilli()/50)%len(capacities)])
			}
			return most
		}
		var all sync.WaitGroup
		for range 1000 {
			time.Sleep(time.Millisecond)
			now := time.Now()
			s := w.semaphore(m, largest(now), func(c *lease.Config) {
				c.TTL = time.Duration(2+now.UnixMilli()/50%3) * time.Second
				c.MaxWait = 10 * time.Second
			})
			all.Go(func() {
				begun := time.Now()
				err := s.Do(context.Background(), func(context.Context) error {
					mu.Lock()
					live, granted = live+1, granted+1
					if most := largest(begun.Add(-15 * time.Second)); live > most {
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
	})
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
