package lease_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/eqworks/passbuddy/lease"
)

func TestChildrenOfALeaseNeedNoGoroutine(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p")
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		l := w.acquireWith(ctx, w.semaphore(m, 1))
		defer l.Release()
		for _, parent := range []context.Context{l.Context(), l.Held()} {
			_ = parent.Done()
			synctest.Wait() // what carried the acquire has gone home
			before := goroutines(w)
			for range 100 {
				_, c1 := context.WithCancel(parent)
				defer c1()
				_, c2 := context.WithTimeout(parent, time.Hour)
				defer c2()
				_, c3 := context.WithCancelCause(parent)
				defer c3(nil)
				g, _ := errgroup.WithContext(parent)
				defer g.Wait()
			}
			if n := goroutines(w) - before; n != 0 {
				w.Errorf("400 children brought %d goroutines", n)
			}
		}
	})
}

func TestChildrenOfALostLeaseEndWithItsReason(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p")
		l := w.acquire(w.semaphore(m, 1))
		child, cancel := context.WithTimeout(context.WithValue(l.Context(), anyKey{}, "v"), time.Hour)
		defer cancel()
		_, group := errgroup.WithContext(l.Context())
		held, cancelHeld := context.WithCancel(l.Held())
		defer cancelHeld()
		w.net.Stall()
		<-child.Done()
		<-held.Done()
		<-group.Done()
		for _, ctx := range []context.Context{child, held, group, l.Context(), l.Held()} {
			var lost *lease.LostError
			if !errors.As(context.Cause(ctx), &lost) || lost.Reason != lease.LossExpired || lost.ID != l.ID() || lost.Token != l.Token() {
				w.Errorf("cause %v", context.Cause(ctx))
			}
			if ctx.Err() != context.Canceled {
				w.Errorf("error %v", ctx.Err())
			}
		}
		w.net.Resume()
		time.Sleep(3 * worldTTL)
		if l.Valid() || l.Context().Err() == nil || child.Err() == nil || !errors.Is(l.Err(), lease.ErrLost) {
			w.Error("the lease came back")
		}
		if err := l.Release(); !errors.Is(err, lease.ErrLost) {
			w.Errorf("Release returned %v", err)
		}
	})
}

func TestNestedLeasesEndWithTheOneAbove(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p")
		outer := w.acquire(w.semaphore(m, 2))
		between, cancel := context.WithCancel(outer.Context())
		defer cancel()
		inner := w.acquireWith(between, w.semaphore(m, 2))
		if got := lease.FromContext(inner.Context()); got != inner {
			w.Error("the innermost lease is not found")
		}
		if got := lease.FromContext(between); got != outer {
			w.Error("the outer lease is not found")
		}
		child, cancelChild := context.WithCancel(inner.Context())
		defer cancelChild()
		if err := outer.Release(); err != nil {
			w.Fatal(err)
		}
		if child.Err() == nil || !errors.Is(context.Cause(inner.Context()), lease.ErrReleased) {
			w.Errorf("the inner context goes on: %v", context.Cause(inner.Context()))
		}
		if !inner.Valid() || inner.Held().Err() != nil {
			w.Error("the inner permit went with the outer one")
		}
		if !errors.Is(inner.Err(), lease.ErrReleased) {
			w.Errorf("Err = %v, want the cause of the caller's context", inner.Err())
		}
		if err := inner.Release(); err != nil {
			w.Error(err)
		}
	})
}

func TestTheDeadlineIsTheCallersNeverTheWindows(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 2)
		l := w.acquire(s)
		defer l.Release()
		if d, ok := l.Context().Deadline(); ok {
			w.Errorf("deadline %v out of nothing", d)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
		defer cancel()
		want, _ := ctx.Deadline()
		l2 := w.acquireWith(ctx, s)
		defer l2.Release()
		if d, ok := l2.Context().Deadline(); !ok || !d.Equal(want) {
			w.Errorf("deadline %v, %v; want the caller's %v", d, ok, want)
		}
		if _, ok := l2.Held().Deadline(); ok {
			w.Error("Held ends with the caller's deadline")
		}
	})
}

func TestCancellingTheCallerKeepsThePermitUntilRelease(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p")
		why := errors.New("SIGTERM")
		ctx, cancel := context.WithCancelCause(context.WithValue(context.Background(), anyKey{}, "v"))
		l := w.acquireWith(ctx, w.semaphore(m, 1))
		cancel(why)
		if l.Context().Err() == nil || context.Cause(l.Context()) != why || l.Err() != why {
			w.Errorf("cause %v, Err %v; want the caller's", context.Cause(l.Context()), l.Err())
		}
		time.Sleep(5 * worldTTL)
		if !l.Valid() || l.Held().Err() != nil || len(w.members()) != 1 {
			w.Error("the permit was not kept for the teardown")
		}
		if l.Held().Value(anyKey{}) != "v" || lease.FromContext(l.Held()) != l {
			w.Error("Held lost the caller's values")
		}
		if err := l.Release(); err != nil {
			w.Error(err)
		}
		if !errors.Is(context.Cause(l.Held()), lease.ErrReleased) || len(w.members()) != 0 {
			w.Error("the permit did not go back")
		}
	})
}

func TestContextsFirstAskedForAfterTheEndHaveEnded(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p")
		l := w.acquire(w.semaphore(m, 1))
		if err := l.Release(); err != nil {
			w.Fatal(err)
		}
		for _, ctx := range []context.Context{l.Context(), l.Held()} {
			if ctx.Err() == nil || !errors.Is(context.Cause(ctx), lease.ErrReleased) {
				w.Errorf("cause %v", context.Cause(ctx))
			}
		}
	})
}
