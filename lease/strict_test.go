package lease_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

func strict(c *lease.Config) { c.Strict = true }

func (w *world) mustDisagree(err error, capacity int, ttl time.Duration) {
	w.Helper()
	var d *lease.DisagreementError
	if !errors.Is(err, lease.ErrDisagreement) || !errors.As(err, &d) || d.Name != "gpu" || d.OtherCapacity != capacity || d.OtherTTL != ttl {
		w.Fatalf("got %v; want a disagreement with %d and %v", err, capacity, ttl)
	}
}

func TestStrictFailsWhileAnotherProcessDeclaresOtherLimits(t *testing.T) {
	inAnHour(t, func(w *world) {
		a, _ := w.process("a")
		b, _ := w.process("b")
		other := w.acquire(w.semaphore(a, 1))
		s := w.semaphore(b, 3, strict)
		began := time.Now()
		_, err := s.Acquire(context.Background())
		w.mustDisagree(err, 1, worldTTL)
		if time.Since(began) > time.Second {
			w.Errorf("it failed after %v", time.Since(began))
		}
		if text := err.Error(); !strings.Contains(text, "capacity 3 and TTL 6s") || !strings.Contains(text, "capacity 1 and TTL 6s") || !strings.Contains(text, "Resize") {
			w.Errorf("the error says %q", text)
		}
		_, err = s.TryAcquire(context.Background())
		w.mustDisagree(err, 1, worldTTL)
		_ = w.acquire(w.semaphore(b, 3)).Release() // without Strict it is served, by its own limits
		_, err = w.semaphore(b, 1, strict, func(c *lease.Config) { c.TTL = 2 * worldTTL }).Acquire(context.Background())
		w.mustDisagree(err, 3, worldTTL) // that of the latest grant
		w.mustHold(other)
		_ = other.Release()
		w.mustHold(w.acquire(s))
	})
}

// Two wait. The other process's call serves the first of them, by a capacity of 2; the second is told at its next poll,
// and holds nobody up.
func TestStrictAlsoHoldsForThoseWhoWait(t *testing.T) {
	inAnHour(t, func(w *world) {
		a, _ := w.process("a")
		b, _ := w.process("b")
		loose, s := w.semaphore(a, 2), w.semaphore(b, 1, strict)
		held := w.acquire(s)
		leases, failed := make(chan *lease.Lease, 3), make(chan error, 2)
		acquire := func(s *lease.Semaphore) {
			if l, err := s.Acquire(context.Background()); err == nil {
				leases <- l
			} else {
				failed <- err
			}
		}
		go acquire(s)
		go acquire(s)
		time.Sleep(time.Second)
		go acquire(loose)
		began := time.Now()
		w.mustDisagree(<-failed, 2, worldTTL)
		if took := time.Since(began); took > s.Config().RetryInterval+100*time.Millisecond {
			w.Errorf("told after %v", took)
		}
		_ = held.Release()
		w.mustHold(<-leases)
		w.mustHold(<-leases)
	})
}

func TestAnOperatorsCapacityEndsADisagreement(t *testing.T) {
	inBubble(t, func(w *world) {
		a, _ := w.process("a")
		b, _ := w.process("b")
		loose, s := w.semaphore(a, 1), w.semaphore(b, 3, strict)
		w.acquire(loose)
		_, err := s.Acquire(context.Background())
		w.mustDisagree(err, 1, worldTTL)
		if err := b.Resize(context.Background(), "gpu", 2); err != nil {
			w.Fatal(err)
		}
		w.mustHold(w.acquire(s))
		if err := b.ResetCapacity(context.Background(), "gpu"); err != nil {
			w.Fatal(err)
		}
		w.mustHold(w.acquire(s)) // the latest grant was by its own Config
	})
}

// Strict callers and others of one process go by their own handles.
func TestStrictIsOfAHandle(t *testing.T) {
	inBubble(t, func(w *world) {
		a, _ := w.process("a")
		b, _ := w.process("b")
		w.acquire(w.semaphore(a, 1))
		s, loose := w.semaphore(b, 1, strict, func(c *lease.Config) { c.TTL = 2 * worldTTL }), w.semaphore(b, 1, func(c *lease.Config) {
			c.TTL, c.MaxWait = 2*worldTTL, time.Second
		})
		waiting := make(chan error, 1)
		go func() {
			_, err := loose.Acquire(context.Background())
			waiting <- err
		}()
		_, err := s.Acquire(context.Background())
		w.mustDisagree(err, 1, worldTTL)
		if err := <-waiting; !errors.Is(err, lease.ErrAtCapacity) {
			w.Errorf("the other caller got %v, want that there is no room", err)
		}
	})
}
