package lease_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// Each promise that the README makes has a file here, and tests that bear its number: in virtual time, and where their
// names say RealRedis, on real servers. Package internal/sim judges all of them under random troubles.

func TestPromise1Capacity(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: time.Millisecond, Jitter: 5 * time.Millisecond})
		var live, most, done atomic.Int64
		var callers sync.WaitGroup
		for p := range 3 {
			m, _ := w.process(fmt.Sprintf("p%d", p))
			s := w.semaphore(m, 2)
			for range 4 {
				callers.Go(func() {
					for range 10 {
						err := s.Do(context.Background(), func(context.Context) error {
							most.Store(max(most.Load(), live.Add(1)))
							time.Sleep(20 * time.Millisecond)
							live.Add(-1)
							return nil
						})
						if err != nil {
							w.Error(err)
						}
						done.Add(1)
					}
				})
			}
		}
		callers.Wait()
		if most.Load() != 2 || done.Load() != 120 {
			w.Errorf("%d at a time, %d in all; want 2 and 120", most.Load(), done.Load())
		}
	})
}

func TestPromise1CapacityRealRedis(t *testing.T) {
	server := redistest.Start(t)
	var live, most atomic.Int64
	var callers sync.WaitGroup
	for range 3 {
		s := realSemaphore(t, opened(t, "open", server.Addr()), 3)
		for range 8 {
			callers.Go(func() {
				for range 25 {
					err := s.Do(context.Background(), func(context.Context) error {
						n := live.Add(1)
						for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
						}
						live.Add(-1)
						return nil
					}, lease.MaxHold(time.Minute))
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	callers.Wait()
	if most.Load() > 3 {
		t.Errorf("%d at a time, capacity 3", most.Load())
	}
	if n := server.Client(t).Exists(context.Background(), "passbuddy-gpu").Val(); n != 0 {
		t.Error("permits are left over")
	}
}
