package lease_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

func TestPromise5APermitGoesBackWhenItsHolderSaysSoOrTimeTakesIt(t *testing.T) {
	t.Run("not when the caller's context ends", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, _ := w.process("p")
			s := w.semaphore(m, 1)
			ctx, cancel := context.WithCancel(context.Background())
			l := w.acquireWith(ctx, s)
			cancel()
			time.Sleep(10 * worldTTL)
			if _, err := s.TryAcquire(context.Background()); !errors.Is(err, lease.ErrAtCapacity) {
				w.Errorf("TryAcquire returned %v during the teardown", err)
			}
			if err := l.Release(); err != nil {
				w.Error(err)
			}
			if l, err := s.TryAcquire(context.Background()); err != nil {
				w.Error(err)
			} else {
				_ = l.Release()
			}
		})
	})
	t.Run("MaxHold bounds a holder that is stuck", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, _ := w.process("p")
			s := w.semaphore(m, 1)
			start := time.Now()
			l := w.acquire(s, lease.MaxHold(10*time.Second))
			<-l.Held().Done()
			if d := time.Since(start); d != 10*time.Second || !errors.Is(l.Err(), lease.ErrMaxHold) {
				w.Errorf("ended after %v: %v", d, l.Err())
			}
			synctest.Wait()
			if len(w.members()) != 1 {
				w.Error("the permit went back before its holder said so")
			}
			next := w.acquire(s)
			if d := time.Since(start); d > 10*time.Second+worldTTL+600*time.Millisecond {
				w.Errorf("time took the permit only after %v", d)
			}
			_ = next.Release()
		})
	})
	t.Run("Close gives back nothing", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, _ := w.process("p")
			l := w.acquire(w.semaphore(m, 1))
			if err := m.Close(); err != nil {
				w.Fatal(err)
			}
			if !errors.Is(l.Err(), lease.ErrClosed) || l.Held().Err() == nil {
				w.Errorf("Err = %v", l.Err())
			}
			if err := l.Release(); !errors.Is(err, lease.ErrClosed) {
				w.Errorf("Release returned %v", err)
			}
			if len(w.members()) != 1 {
				w.Error("the permit was given back")
			}
		})
	})
	t.Run("Shutdown waits for the holders", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, _ := w.process("p")
			s := w.semaphore(m, 1)
			l := w.acquire(s)
			waiting := make(chan error)
			go func() { _, err := s.Acquire(context.Background()); waiting <- err }()
			synctest.Wait()
			ctx, cancel := context.WithTimeout(context.Background(), 3*worldTTL)
			defer cancel()
			if err := m.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				w.Errorf("Shutdown returned %v while a lease was held", err)
			}
			if err := <-waiting; !errors.Is(err, lease.ErrClosed) {
				w.Errorf("the waiter got %v", err)
			}
			w.mustHold(l)
			if _, err := s.Acquire(context.Background()); !errors.Is(err, lease.ErrClosed) {
				w.Errorf("Acquire returned %v", err)
			}
			done := make(chan error)
			go func() { done <- m.Shutdown(context.Background()) }()
			synctest.Wait()
			if err := l.Release(); err != nil {
				w.Error(err)
			}
			if err := <-done; err != nil {
				w.Error(err)
			}
		})
	})
}
