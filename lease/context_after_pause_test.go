package lease_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
)

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

func TestAfterAPauseAPermitAnswersByTheClock(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p", func(_ *redis.Options, o *lease.Options) { o.Clock = stoppedClock{clock.New()} })
		p := w.semaphore(m, 2).Permit()
		ctx, done := w.use(p, context.Background())
		defer done()
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		time.Sleep(time.Until(lease.FromContext(ctx).TrustedUntil()) - time.Nanosecond)
		if !p.IsHeld() || ctx.Err() != nil {
			w.Fatal("ended before its window")
		}
		time.Sleep(time.Nanosecond)
		if ctx.Err() == nil || child.Err() == nil || p.IsHeld() {
			w.Errorf("believed after its window: %v, child %v, held %v", ctx.Err(), child.Err(), p.IsHeld())
		}
	})
}
