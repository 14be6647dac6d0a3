package lease_test

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

func TestANilLeaseAnswers(t *testing.T) {
	l := lease.FromContext(context.Background())
	if l.Valid() || l.Err() != lease.ErrNoLease || l.Release() != lease.ErrNoLease || l.Token() != 0 || l.ID() != "" || l.Name() != "" || !l.TrustedUntil().IsZero() {
		t.Errorf("valid %v, Err %v, Release %v, token %d, ID %q, name %q, until %v", l.Valid(), l.Err(), l.Release(), l.Token(), l.ID(), l.Name(), l.TrustedUntil())
	}
	l.ReleaseAsync()
	for _, ctx := range []context.Context{l.Context(), l.Held()} {
		if ctx.Err() == nil || context.Cause(ctx) != lease.ErrNoLease {
			t.Errorf("the context: %v, %v", ctx.Err(), context.Cause(ctx))
		}
	}
}

func TestAZeroSemaphoreAndANilOptionAreErrors(t *testing.T) {
	ctx := context.Background()
	var none *lease.Semaphore
	for name, s := range map[string]*lease.Semaphore{"nil": none, "zero": {}} {
		_, err := s.Acquire(ctx)
		mustRefuse(t, err, "Semaphore", "zero")
		_, err = s.TryAcquire(ctx)
		mustRefuse(t, err, "Semaphore", "zero")
		mustRefuse(t, s.Do(ctx, func(context.Context) error { return nil }), "Semaphore", "zero")
		mustRefuse(t, s.Resize(ctx, 1), "Semaphore", "zero")
		_, err = s.Inspect(ctx)
		mustRefuse(t, err, "Semaphore", "zero")
		mustRefuse(t, s.Permit().Acquire(ctx), "Semaphore", "zero")
		g := s.Group(ctx)
		g.Go(func(context.Context) error { return nil })
		mustRefuse(t, g.Wait(), "Semaphore", "zero")
		if s.Name() != "" || s.Config() != (lease.Config{}) || s.Logger() == nil {
			t.Errorf("%s: name %q, config %v", name, s.Name(), s.Config())
		}
	}
	inBubble(t, func(w *world) {
		m, _ := w.process("p")
		_, err := w.semaphore(m, 1).Acquire(ctx, nil)
		mustRefuse(t, err, "AcquireOption", "nil")
	})
}

func TestMaxHoldShowsInTheDeadline(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 3)
		start := time.Now()
		mustEnd := func(ctx context.Context, want time.Duration) {
			w.Helper()
			at, ok := ctx.Deadline()
			if off := at.Sub(start) - want; want > 0 && (!ok || off < 0 || off > time.Second) || want == 0 && ok {
				w.Errorf("the deadline is %v after the acquire (%v), want %v", at.Sub(start), ok, want)
			}
		}
		bounded, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		l := w.acquireWith(bounded, s, lease.MaxHold(time.Hour))
		mustEnd(l.Context(), time.Minute)
		mustEnd(l.Held(), time.Hour)
		l = w.acquireWith(bounded, s, lease.MaxHold(10*time.Second))
		mustEnd(l.Context(), 10*time.Second)
		mustEnd(w.acquire(s).Context(), 0)
	})
}

// A caller that holds permits waits for itself when the rest of the capacity cannot be enough for it.
func TestACallerThatWaitsForItselfIsToldAtOnce(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 3)
		outer := w.acquire(s, lease.Weight(2))
		inner := w.acquireWith(outer.Context(), s)
		start := time.Now()
		_, err := s.Acquire(inner.Context())
		var deadlock *lease.DeadlockError
		if !errors.Is(err, lease.ErrDeadlock) || !errors.As(err, &deadlock) || deadlock.Held != 3 || deadlock.Capacity != 3 || deadlock.Weight != 1 {
			w.Errorf("%v", err)
		}
		if time.Since(start) > time.Second {
			w.Errorf("told after %v", time.Since(start))
		}
		if _, err := s.TryAcquire(inner.Context()); !errors.Is(err, lease.ErrAtCapacity) {
			w.Errorf("one attempt: %v", err)
		}

		other := w.semaphore(m, 2, func(c *lease.Config) { c.Name = "other" })
		_ = w.acquireWith(inner.Context(), other).Release()

		if err := s.Resize(context.Background(), 4); err != nil { // there is room now, whatever the Config says
			w.Fatal(err)
		}
		_ = w.acquireWith(inner.Context(), s).Release()

		_ = inner.Release()
		if err := s.ResetCapacity(context.Background()); err != nil {
			w.Fatal(err)
		}
		// What others hold comes free: who waits for that does not wait for itself. The outer lease has ended, and does not
		// count; that of another semaphore neither.
		inner = w.acquireWith(outer.Context(), s)
		ctx := w.acquireWith(inner.Held(), other, lease.Weight(2)).Held()
		_ = outer.Release()
		held := w.acquire(s, lease.Weight(2))
		time.AfterFunc(time.Second, func() { _ = held.Release() })
		_ = w.acquireWith(ctx, s).Release()
	})
}

// A server that accepts and never answers: what is called comes back, and says what it knows.
func TestWhatIsCalledComesBackFromAServerThatSaysNothing(t *testing.T) {
	const ttl = 15 * time.Second
	for name, strike := range map[string]func(*world, *sim.Host){
		"Redis hangs": func(w *world, _ *sim.Host) { w.net.Stall() }, "a partition": func(_ *world, h *sim.Host) { h.Partition() },
	} {
		for _, bounded := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				inAnHour(t, func(w *world) {
					m, host := w.process("p", func(o *redis.Options, _ *lease.Options) { o.ContextTimeoutEnabled = bounded })
					held := w.acquire(w.semaphore(m, 2, func(c *lease.Config) { c.TTL = ttl }))
					fresh := w.semaphore(m, 2, func(c *lease.Config) { c.Name, c.TTL = "fresh", ttl })
					strike(w, host)
					mustComeBack := func(what string, most time.Duration, call func() error) {
						w.Helper()
						start := time.Now()
						err := call()
						var trouble *lease.RedisError
						if took := time.Since(start); took > most+10*time.Millisecond || !errors.As(err, &trouble) || errors.Is(err, lease.ErrAtCapacity) {
							w.Errorf("%s came back after %v, want %v at most, with %v", what, took, most, err)
						}
					}
					ctx := context.Background()
					mustComeBack("Acquire(MaxWait(1s))", time.Second, func() error { _, err := fresh.Acquire(ctx, lease.MaxWait(time.Second)); return err })
					mustComeBack("TryAcquire", 2*time.Second, func() error { _, err := fresh.TryAcquire(ctx); return err })
					mustComeBack("Release", 2*time.Second, func() error { return held.Release() })
					mustComeBack("Ping", 5*time.Second, func() error { return m.Ping(ctx) })
					w.net.Resume()
					host.Heal()
				})
			})
		}
	}
}

// A caller joins the wait of another for a shared permit, and its own time is up before Redis has answered anything.
func TestASharedWaitThatEndsBeforeAnyAnswerIsNotAtCapacity(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		p := w.semaphore(m, 1).Permit()
		w.net.Stall()
		first := make(chan error)
		go func() { first <- p.Acquire(context.Background()) }()
		synctest.Wait()
		_, _, err := p.UseWithin(context.Background(), time.Second)
		var trouble *lease.RedisError
		if !errors.As(err, &trouble) || errors.Is(err, lease.ErrAtCapacity) || !errors.Is(err, os.ErrDeadlineExceeded) {
			w.Errorf("%v", err)
		}
		w.net.Resume()
		if err := <-first; err != nil {
			w.Error(err)
		}
	})
}
