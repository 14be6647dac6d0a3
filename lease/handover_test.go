package lease_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// A process whose callers hand a permit over among themselves need not ask Redis for one. It learns of a pause all the
// same.
func TestAPauseEndsHandOverInTime(t *testing.T) {
	for _, callers := range []int{2, 5} {
		t.Run(fmt.Sprint(callers), func(t *testing.T) {
			inBubble(t, func(w *world) {
				a, _ := w.process("a")
				b, _ := w.process("b")
				s := w.semaphore(a, 1, func(c *lease.Config) { c.Handover = time.Minute })
				other := w.semaphore(b, 1)
				ctx, end := context.WithCancel(context.Background())
				var begun, late atomic.Int64
				var paused atomic.Pointer[time.Time]
				var all sync.WaitGroup
				for range callers {
					all.Go(func() {
						for ctx.Err() == nil {
							_ = s.Do(ctx, func(context.Context) error {
								begun.Add(1)
								if at := paused.Load(); at != nil && time.Since(*at) > time.Second {
									late.Add(1)
								}
								time.Sleep(20 * time.Millisecond)
								return nil
							})
						}
					})
				}
				time.Sleep(3 * time.Second)
				if begun.Load() < 50 {
					w.Errorf("%d leases: nothing is handed over", begun.Load())
				}
				if err := other.Pause(context.Background()); err != nil {
					w.Fatal(err)
				}
				now := time.Now()
				paused.Store(&now)
				time.Sleep(10 * time.Second)
				if n := late.Load(); n > 0 {
					w.Errorf("%d leases began more than a second after the pause", n)
				}
				end()
				all.Wait()
			})
		})
	}
}
