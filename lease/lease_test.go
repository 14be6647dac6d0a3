package lease_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/benbjohnson/clock"
	"github.com/redis/go-redis/v9"
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

// A stoppedClock tells the time and runs no timer: the process was paused, and nothing has run since.
type stoppedClock struct{ clock.Clock }

func (c stoppedClock) AfterFunc(time.Duration, func()) *clock.Timer {
	return c.Clock.AfterFunc(1000*time.Hour, func() {})
}

func TestAfterAPauseTheContextAnswersBeforeAnyTimerHasRun(t *testing.T) {
	for _, tc := range []struct {
		name string
		ask  func(*lease.Lease) bool // reports whether the lease is over
	}{
		{"Err", func(l *lease.Lease) bool { return l.Context().Err() != nil }},
		{"Done", func(l *lease.Lease) bool {
			select {
			case <-l.Context().Done():
				return true
			default:
				return false
			}
		}},
		{"Held", func(l *lease.Lease) bool { return l.Held().Err() != nil }},
		{"Valid", func(l *lease.Lease) bool { return !l.Valid() }},
		{"Lease.Err", func(l *lease.Lease) bool { return errors.Is(l.Err(), lease.ErrLost) }},
		{"a lease below", func(l *lease.Lease) bool {
			below := lease.FromContext(context.WithValue(l.Context(), anyKey{}, "v"))
			return below.Context().Err() != nil
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				m, _ := w.process("p", func(_ *redis.Options, o *lease.Options) { o.Clock = stoppedClock{clock.New()} })
				l := w.acquire(w.semaphore(m, 1))
				child, cancel := context.WithCancel(l.Context())
				defer cancel()
				heldChild, cancelHeld := context.WithCancel(l.Held())
				defer cancelHeld()
				end := l.TrustedUntil()
				time.Sleep(time.Until(end) - time.Nanosecond)
				if tc.ask(l) {
					w.Fatal("ended before its window")
				}
				time.Sleep(1 * time.Nanosecond)
				if child.Err() != nil {
					w.Fatal("something ended the child before anybody looked")
				}
				if !tc.ask(l) {
					w.Error("the lease is believed after its window")
				}
				if child.Err() == nil || heldChild.Err() == nil {
					w.Error("the children were not taken along")
				}
			})
		})
	}
}

// The window of the topmost of three leases ends first. The contexts between them do not look at the clock.
func TestAfterAPauseTheContextAnswersForAllLeasesAboveIt(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p", func(_ *redis.Options, o *lease.Options) { o.Clock = stoppedClock{clock.New()} })
		nested := func(parent context.Context, name string) (*lease.Lease, context.Context) {
			l := w.acquireWith(parent, w.semaphore(m, 1, func(c *lease.Config) { c.Name = name }))
			below, cancel := context.WithCancel(l.Context())
			w.Cleanup(cancel)
			time.Sleep(time.Second) // the window of the next one ends later
			return l, below
		}
		top, belowTop := nested(context.Background(), "top")
		middle, belowMiddle := nested(belowTop, "middle")
		bottom, _ := nested(belowMiddle, "bottom")
		time.Sleep(time.Until(top.TrustedUntil()) - time.Nanosecond)
		if bottom.Context().Err() != nil {
			w.Fatal("ended before the first window")
		}
		time.Sleep(1 * time.Nanosecond)
		if bottom.Context().Err() == nil {
			w.Error("the context goes on after the window of the topmost lease")
		}
		if !errors.Is(context.Cause(bottom.Context()), lease.ErrLost) {
			w.Errorf("cause %v, want the loss", context.Cause(bottom.Context()))
		}
		if !middle.Valid() || !bottom.Valid() {
			w.Error("the permits below went with the topmost one")
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

func TestReleaseEndsTheContextsFirst(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p")
		l := w.acquire(w.semaphore(m, 1))
		ctx, held := l.Context(), l.Held()
		w.net.OnCommand(func(_ string, _ time.Time, cmd []string) {
			if len(membersOf(w.net.Server())) == 0 && (ctx.Err() == nil || held.Err() == nil) {
				w.Error("the permit was free while the contexts lived")
			}
		})
		if err := l.Release(); err != nil {
			w.Fatal(err)
		}
		if err := l.Release(); err != nil {
			w.Errorf("the second call returned %v", err)
		}
		if l.Context() != ctx || l.Held() != held || !errors.Is(l.Err(), lease.ErrReleased) {
			w.Error("the lease changed its contexts or its reason")
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

// The mock clock and the server's clock move together, to the millisecond.
func TestRenewalAndLossByTheMockClock(t *testing.T) {
	inBubble(t, func(w *world) {
		mock := clock.NewMock()
		mock.Set(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
		m, _ := w.process("p", func(_ *redis.Options, o *lease.Options) { o.Clock = mock })
		move := func(d time.Duration) {
			for ; d > 0; d -= time.Millisecond {
				w.net.SetClockOffset(time.Until(mock.Now()) + time.Millisecond)
				mock.Add(time.Millisecond)
				synctest.Wait()
			}
		}
		move(time.Millisecond)
		l := w.acquire(w.semaphore(m, 1))
		acquired := mock.Now()
		window := worldTTL - worldTTL/20
		if got := l.TrustedUntil().Sub(acquired); got > window+2*time.Millisecond || got < window-2*time.Millisecond {
			w.Fatalf("trusted for %v, want %v", got, window)
		}
		first := l.TrustedUntil()
		move(window / 3 * 8 / 10)
		if l.TrustedUntil() != first {
			w.Fatal("renewed long before a third of the window")
		}
		move(window / 3 * 3 / 10)
		if !l.TrustedUntil().After(first) {
			w.Fatal("not renewed after a third of the window")
		}
		w.net.Stall()
		end := l.TrustedUntil()
		move(end.Sub(mock.Now()) - time.Millisecond)
		held := l.Held()
		w.mustHold(l)
		move(time.Millisecond)
		<-held.Done()
		if !errors.Is(context.Cause(held), lease.ErrLost) {
			w.Error(context.Cause(held))
		}
		w.net.Resume()
	})
}

func TestALeaseThatIsCollectedEndsAndIsLoggedAndNotGivenBack(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	logged := make(chan string, 10)
	m, err := lease.New(client, lease.Options{Logger: slog.New(slog.NewTextHandler(writer(func(p []byte) { logged <- string(p) }), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 2, TTL: 600 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := s.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	child := context.WithValue(kept.Context(), anyKey{}, "v")
	keptID := kept.ID()
	kept = nil
	lost, err := s.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	done, lostID := lost.Context().Done(), lost.ID()
	lost = nil
	for over := false; !over; {
		runtime.GC()
		select {
		case <-done:
			over = true
		default:
			runtime.Gosched()
		}
	}
	if line := <-logged; !strings.Contains(line, lostID) || !strings.Contains(line, "level=ERROR") || !strings.Contains(line, "gpu") {
		t.Errorf("logged %q", line)
	}
	if score, err := client.ZScore(context.Background(), "passbuddy-gpu", lostID).Result(); err != nil || score == 0 {
		t.Errorf("the permit was given back though its holder never said so: %v, %v", score, err)
	}
	if l := lease.FromContext(child); l == nil || !l.Valid() || l.ID() != keptID {
		t.Error("a lease was collected that its context still refers to")
	}
	runtime.KeepAlive(child)
}

type anyKey struct{}

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }
