package lease_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

func TestReleaseNoWaitReturnsBeforeRedisAnswers(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 2)
		l := w.acquire(s)
		p := s.Permit()
		if err := p.Acquire(context.Background()); err != nil {
			w.Fatal(err)
		}
		w.net.Stall()
		start := time.Now()
		l.ReleaseNoWait()
		p.ReleaseNoWait()
		if d := time.Since(start); d != 0 {
			w.Errorf("it waited %v for Redis", d)
		}
		if !errors.Is(context.Cause(l.Context()), lease.ErrReleased) || p.IsHeld() {
			w.Errorf("cause %v, held %v", context.Cause(l.Context()), p.IsHeld())
		}
		if err := l.Release(); err != nil || time.Since(start) != 0 {
			w.Errorf("a later Release returned %v after %v", err, time.Since(start))
		}
		if n := len(w.members()); n != 2 {
			w.Errorf("%d permits in Redis before it answers", n)
		}
		w.net.Resume()
		time.Sleep(worldTTL / 4)
		if n := len(w.members()); n != 0 {
			w.Errorf("%d permits did not go back", n)
		}
	})
}

func TestReleaseNoWaitOfALostLeaseKeepsTheReason(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		l := w.acquire(w.semaphore(m, 1))
		leasetest.Lose(l)
		l.ReleaseNoWait()
		if err := l.Release(); !errors.Is(err, lease.ErrLost) {
			w.Errorf("Release returned %v", err)
		}
		synctest.Wait()
		if n := len(w.members()); n != 0 {
			w.Errorf("%d permits did not go back", n)
		}
	})
}

func TestReleaseNoWaitOfAPermitLeavesItToTheLastUser(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		p := w.semaphore(m, 1).Permit()
		p.ReleaseNoWait() // not held: nothing happens
		ctx, done := w.use(p, context.Background())
		p.ReleaseNoWait()
		synctest.Wait()
		if ctx.Err() != nil || len(w.members()) != 1 {
			w.Errorf("%v, %d permits while there is a user", ctx.Err(), len(w.members()))
		}
		done()
		synctest.Wait()
		if n := len(w.members()); n != 0 {
			w.Errorf("%d permits did not go back", n)
		}
	})
}

// A caller with a bound of its own joins the wait of one that has more time, and leaves it alone.
func TestTheBoundOfUseWithinIsTheCallersOwn(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		other, _ := w.process("q")
		taken := w.acquire(w.semaphore(other, 1))
		p := w.semaphore(m, 1).Permit(lease.MaxWait(time.Minute))
		within := func(wait, want time.Duration) {
			w.Helper()
			start := time.Now()
			_, _, err := p.UseWithin(context.Background(), wait)
			var full *lease.CapacityError
			if !errors.As(err, &full) || full.Name != "gpu" || time.Since(start) != want {
				w.Errorf("with %v: %v after %v, want %v", wait, err, time.Since(start), want)
			}
		}
		within(0, 0) // alone: one attempt, not the permit's minute
		within(time.Second, time.Second)
		patient := make(chan error)
		go func() { patient <- p.Acquire(context.Background()) }()
		synctest.Wait()
		within(time.Second, time.Second)
		within(0, worldTTL/8)
		_ = taken.Release()
		if err := <-patient; err != nil {
			w.Error(err)
		}
		ctx, done, err := p.UseWithin(context.Background(), 0)
		if err != nil || lease.FromContext(ctx) == nil {
			w.Fatalf("a permit that is held: %v", err)
		}
		done()
		_ = p.Release()
	})
}

func TestAPermitKnowsItsSemaphoreAndThatItsLogger(t *testing.T) {
	inBubble(t, func(w *world) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		m, _ := w.process("p", func(_ *redis.Options, o *lease.Options) { o.Logger = logger })
		s := w.semaphore(m, 3)
		if p := s.Permit(); p.Semaphore() != s || p.Semaphore().Logger() != logger {
			w.Error("another semaphore, or another logger")
		}
		quiet, _ := w.process("q", func(_ *redis.Options, o *lease.Options) { o.Logger = nil })
		ctx := context.Background()
		if l := w.semaphore(quiet, 3).Logger(); l.Enabled(ctx, slog.LevelInfo) || !l.Enabled(ctx, slog.LevelWarn) {
			w.Error("the default logger is not the one for warnings")
		}
	})
}
