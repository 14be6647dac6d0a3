package lease_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

func TestUsersOfAPermitShareOneLease(t *testing.T) {
	inAnHour(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: 20 * time.Millisecond})
		m, _ := w.process("p")
		p := w.semaphore(m, 5).Permit()
		leases := make([]*lease.Lease, 50)
		var all sync.WaitGroup
		for i := range leases {
			all.Go(func() {
				if i%2 == 0 {
					if err := p.Acquire(context.Background()); err != nil {
						w.Error(err)
					}
				}
				ctx, done := w.use(p, context.Background())
				defer done()
				leases[i] = lease.FromContext(ctx)
			})
		}
		all.Wait()
		for _, l := range leases {
			if l != leases[0] || !l.Valid() {
				w.Fatal("the users do not share one lease")
			}
		}
		if n := len(w.members()); n != 1 || !p.IsHeld() {
			w.Errorf("%d permits in Redis, held %v; want 1", n, p.IsHeld())
		}
		if err := p.Release(); err != nil {
			w.Error(err)
		}
		if n := len(w.members()); n != 0 || p.IsHeld() {
			w.Errorf("%d permits in Redis after Release, held %v", n, p.IsHeld())
		}
	})
}

func TestACallerWhoGivesUpDoesNotFailTheOthers(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		other, _ := w.process("q")
		taken := w.acquire(w.semaphore(other, 1))
		p := w.semaphore(m, 1).Permit()
		boring := errors.New("boring")
		gaveUp, stayed := make(chan error), make(chan error)
		ctx, cancel := context.WithCancelCause(context.Background())
		go func() { gaveUp <- p.Acquire(ctx) }()
		synctest.Wait() // the first: the acquire is not bound to it
		go func() {
			used, done, err := p.Use(context.Background())
			if err == nil {
				defer done()
				err = used.Err()
			}
			stayed <- err
		}()
		synctest.Wait()
		cancel(boring)
		if err := <-gaveUp; !errors.Is(err, boring) || !errors.Is(err, context.Canceled) {
			w.Errorf("the caller that gave up got %v", err)
		}
		_ = taken.Release()
		if err := <-stayed; err != nil {
			w.Errorf("the caller that stayed got %v", err)
		}
		if !p.IsHeld() {
			w.Error("the permit is not held")
		}
		_ = p.Release()
	})
}

func TestWhenAllCallersGiveUpNothingIsTaken(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		other, _ := w.process("q")
		taken := w.acquire(w.semaphore(other, 1))
		p := w.semaphore(m, 1).Permit()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := p.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
					w.Errorf("Acquire returned %v", err)
				}
			})
		}
		all.Wait()
		_ = taken.Release()
		time.Sleep(worldTTL)
		if n := len(w.members()); n != 0 || p.IsHeld() {
			w.Errorf("%d permits were taken for nobody", n)
		}
		if err := p.Acquire(context.Background()); err != nil { // and the next one starts afresh
			w.Error(err)
		}
		_ = p.Release()
	})
}

// The lease comes in the very moment in which its only caller gives up: either the caller has it, or
// nobody does.
func TestALeaseThatComesWhenItsCallerGivesUpIsNotForgotten(t *testing.T) {
	for late := range 40 {
		inAnHour(t, func(w *world) {
			w.net.SetFaults(sim.Faults{Latency: time.Millisecond})
			m, _ := w.process("p")
			p := w.semaphore(m, 1).Permit()
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(late)*250*time.Microsecond)
			defer cancel()
			err := p.Acquire(ctx)
			time.Sleep(worldTTL / 4) // what was given up has gone back
			if held := len(w.members()) == 1; held != (err == nil) || held != p.IsHeld() {
				w.Errorf("given up after %d/4 ms: Acquire %v, held %v, in Redis %v", late, err, p.IsHeld(), held)
			}
			_ = p.Release()
		})
	}
}

func TestAcquireExtendsAtOnceWhatIsHeld(t *testing.T) {
	inAnHour(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: 5 * time.Millisecond})
		m, host := w.process("p")
		p := w.semaphore(m, 1).Permit()
		ctx, done := w.use(p, context.Background())
		defer done()
		l := lease.FromContext(ctx)
		time.Sleep(worldTTL / 5) // before the first renewal
		extend := func(within time.Duration) {
			w.Helper()
			asked := time.Now()
			if err := p.Acquire(context.Background()); err != nil {
				w.Fatal(err)
			}
			if d := time.Since(asked); d > within {
				w.Errorf("extended after %v", d)
			}
			if got, want := l.TrustedUntil(), asked.Add(worldTTL-worldTTL/20); got.Before(want) {
				w.Errorf("trusted until %v after Acquire, want %v", got.Sub(asked), want.Sub(asked))
			}
			if expiry := w.members()[l.ID()]; time.Until(expiry) < worldTTL-20*time.Millisecond {
				w.Errorf("expires in %v", time.Until(expiry))
			}
		}
		extend(100 * time.Millisecond)
		time.Sleep(time.Second)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { extend(100 * time.Millisecond) })
		}
		all.Wait()

		// Trouble is ridden out, for as long as the caller wants to.
		host.Refuse()
		impatient, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if err := p.Acquire(impatient); !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("Acquire returned %v", err)
		}
		time.AfterFunc(time.Second, host.Heal)
		extend(2 * time.Second)
		if lease.FromContext(ctx) != l || ctx.Err() != nil {
			w.Error("extending took another permit")
		}
		_ = p.Release()
	})
}

func TestCallersOfAPermitShareTheEndOfTheirWait(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		other, _ := w.process("q")
		defer w.acquire(w.semaphore(other, 1)).Release()
		p := w.semaphore(m, 1).Permit(lease.MaxWait(time.Second))
		start := time.Now()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				_, _, err := p.Use(context.Background())
				var full *lease.CapacityError
				if !errors.As(err, &full) || full.Held != 1 {
					w.Errorf("Use returned %v", err)
				}
			})
		}
		all.Wait()
		if d := time.Since(start); d != time.Second {
			w.Errorf("waited %v", d)
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
		within(-1, 0) // alone: one attempt, not the permit's minute
		within(time.Second, time.Second)
		patient := make(chan error)
		go func() { patient <- p.Acquire(context.Background()) }()
		synctest.Wait()
		within(time.Second, time.Second)
		within(-1, worldTTL/8)
		_ = taken.Release()
		if err := <-patient; err != nil {
			w.Error(err)
		}
		ctx, done, err := p.UseWithin(context.Background(), -1)
		if err != nil || lease.FromContext(ctx) == nil {
			w.Fatalf("a permit that is held: %v", err)
		}
		done()
		_ = p.Release()
	})
}

func TestWrongUsesOfAPermitAreRefused(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 1)
		p := s.Permit()
		var none context.Context
		mustRefuse(t, p.Acquire(none), "ctx", "nil")
		_, _, err := p.Use(none)
		mustRefuse(t, err, "ctx", "nil")
		mustRefuse(t, s.Permit(lease.MaxHold(-time.Second)).Acquire(context.Background()), "MaxHold", "-1s")
		_, err = lease.Bind[int, int](p, nil)(context.Background(), 1)
		mustRefuse(t, err, "fn", "nil")
		_, err = lease.Bind(nil, func(context.Context, int) (int, error) { return 0, nil })(context.Background(), 1)
		mustRefuse(t, err, "p", "nil")
		if p.IsHeld() || len(w.members()) != 0 {
			w.Error("a permit was taken for nothing")
		}
		if p.Client() != m.Client() {
			w.Error("Client is not the manager's")
		}
	})
}
