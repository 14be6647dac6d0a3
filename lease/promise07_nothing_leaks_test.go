package lease_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

func TestPromise7NothingLeaks(t *testing.T) {
	t.Run("a cancelled acquire", func(t *testing.T) {
		inBubble(t, func(w *world) {
			w.net.SetFaults(sim.Faults{Latency: 50 * time.Millisecond})
			m, _ := w.process("p")
			s := w.semaphore(m, 1)
			w.acquire(s).Release() // connected, the clock known
			ctx, cancel := context.WithTimeout(context.Background(), 75*time.Millisecond)
			defer cancel()
			if _, err := s.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
				w.Fatalf("Acquire returned %v", err) // granted by now, and the reply is on its way
			}
			if len(w.members()) != 1 {
				w.Fatal("the test needs a permit that was granted")
			}
			time.Sleep(80 * time.Millisecond) // the reply, and one round trip
			if n := len(w.members()); n != 0 {
				w.Errorf("%d permits leaked", n)
			}
		})
	})
	t.Run("a request that arrives after it was given up", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, host := w.process("p")
			s := w.semaphore(m, 1)
			w.acquire(s).Release()
			host.SetFaults(sim.Faults{DelayRequest: 1, DelayUpTo: 4 * worldTTL})
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			if _, err := s.Acquire(ctx); err == nil {
				w.Fatal("acquired")
			}
			host.SetFaults(sim.Faults{})
			time.Sleep(worldTTL/8 + 100*time.Millisecond) // the attempt is given up
			var taken atomic.Int64
			w.net.OnCommand(func(string, time.Time, []string) { taken.Add(int64(len(membersOf(w.net.Server())))) })
			time.Sleep(5 * worldTTL)
			if taken.Load() != 0 {
				w.Errorf("a request that nobody waits for took a permit")
			}
		})
	})
	t.Run("a lost reply", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, host := w.process("p", func(o *redis.Options, _ *lease.Options) { o.MaxRetries = -1 })
			s := w.semaphore(m, 1)
			w.acquire(s).Release()
			host.SetFaults(sim.Faults{CutReply: 1})
			if _, err := s.Acquire(context.Background()); err == nil {
				w.Fatal("acquired")
			}
			if len(w.members()) != 1 {
				w.Fatal("the test needs a permit that was granted")
			}
			host.SetFaults(sim.Faults{})
			time.Sleep(worldTTL/8 + 100*time.Millisecond) // the release waits until no request can be on its way
			if n := len(w.members()); n != 0 {
				w.Errorf("%d permits leaked", n)
			}
		})
	})
	t.Run("a crash", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, host := w.process("p")
			other, _ := w.process("q")
			w.acquire(w.semaphore(m, 1))
			host.Kill()
			start := time.Now()
			l := w.acquire(w.semaphore(other, 1))
			if d := time.Since(start); d > worldTTL+10*time.Millisecond {
				w.Errorf("free after %v, want just after its expiry", d)
			}
			_ = l.Release()
		})
	})
	t.Run("an outage", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, host := w.process("p")
			s := w.semaphore(m, 1)
			host.Refuse()
			if _, err := s.Acquire(context.Background()); err == nil {
				w.Fatal("acquired")
			}
			time.Sleep(3 * worldTTL)
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if err := m.Shutdown(ctx); err != nil {
				w.Errorf("something is left: %v", err)
			}
		})
	})
}
