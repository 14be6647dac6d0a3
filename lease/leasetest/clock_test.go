package leasetest_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

// A user's test: MaxHold ends a lease after a day.
func TestAClockMovesALeaseThroughADay(t *testing.T) {
	t.Parallel()
	m, clock := leasetest.NewWithClock(t)
	l := acquire(t, semaphore(t, m, lease.Config{MaxHold: 24 * time.Hour, TTL: time.Hour}))
	clock.Add(24*time.Hour - 1)
	if !l.Valid() {
		t.Fatalf("ended before the day was over: %v", l.Err())
	}
	clock.Add(1)
	if l.Context().Err() == nil || !errors.Is(l.Err(), lease.ErrMaxHold) {
		t.Errorf("after a day: %v", l.Err())
	}
	_ = l.Release()
}

// renewals counts.
type renewals struct {
	lease.NopTracer
	n atomic.Int64
}

func (r *renewals) TraceRenewal(lease.Renewal) { r.n.Add(1) }

// A user's test: a lease is renewed three times in an hour.
func TestAClockShowsEachRenewal(t *testing.T) {
	t.Parallel()
	f, clock := leasetest.NewFleetWithClock(t)
	var renewals renewals
	p := f.Process("p", lease.Options{Tracers: []lease.Tracer{&renewals}})
	l := acquire(t, semaphore(t, p, lease.Config{TTL: time.Hour}))
	clock.Add(time.Hour)
	if n := renewals.n.Load(); n != 3 || !l.Valid() {
		t.Errorf("renewed %d times in an hour, valid: %t", n, l.Valid())
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
}

var slow = lease.Config{TTL: 5 * time.Minute} // few renewals in an hour

// A user's test: the lease of a process that is cut off is lost at exactly the instant that TrustedUntil says, and its
// permit is another's when its TTL is over, not before.
func TestAClockShowsWhenALeaseIsLost(t *testing.T) {
	for name, strike := range map[string]func(*leasetest.Process){
		"a partition": (*leasetest.Process).Partition,
		"a crash":     (*leasetest.Process).Crash,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, clock := leasetest.NewFleetWithClock(t)
			first, second := f.Process("first", lease.Options{}), f.Process("second", lease.Options{})
			l := acquire(t, semaphore(t, first, slow))
			clock.Add(time.Hour) // it is renewed

			strike(first)
			clock.Add(l.TrustedUntil().Sub(clock.Now()) - 1)
			if !l.Valid() || l.Context().Err() != nil {
				t.Fatalf("lost too early: %v", l.Err())
			}
			clock.Add(1)
			var lost *lease.LostError
			if l.Valid() || l.Context().Err() == nil || !errors.As(l.Err(), &lost) || lost.Reason != lease.LossExpired {
				t.Fatalf("not lost when its window ended: %v", l.Err())
			}
			other := semaphore(t, second, slow)
			if _, err := other.TryAcquire(context.Background()); !errors.Is(err, lease.ErrAtCapacity) {
				t.Errorf("before the TTL is over: %v", err)
			}
			clock.Add(other.Config().Margin + 10*time.Millisecond)
			next, err := other.TryAcquire(context.Background())
			if err != nil {
				t.Fatalf("after the TTL: %v", err)
			}
			first.Heal()
			clock.Add(time.Hour)
			if !next.Valid() {
				t.Errorf("the second lost it: %v", next.Err())
			}
			if err := next.Release(); err != nil {
				t.Error(err)
			}
			_ = l.Release()
			again := acquire(t, semaphore(t, first, slow)) // its network is whole again
			if err := again.Release(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAClockMovesOnWhileRedisHangs(t *testing.T) {
	t.Parallel()
	f, clock := leasetest.NewFleetWithClock(t)
	p := f.Process("p", lease.Options{})
	l := acquire(t, semaphore(t, p, slow))
	f.Stall()
	clock.Add(2 * time.Minute) // a renewal hangs
	f.Resume()
	clock.Add(time.Hour)
	if !l.Valid() {
		t.Fatalf("two minutes cost the lease: %v", l.Err())
	}
	f.Stall()
	clock.Add(5 * time.Minute)
	if !errors.Is(l.Err(), lease.ErrLost) {
		t.Errorf("after five minutes without an answer: %v", l.Err())
	}
	f.Resume()
}

// A manager that is closed has nothing left to do.
func TestAClockMovesOnWhenAManagerIsClosed(t *testing.T) {
	t.Parallel()
	f, clock := leasetest.NewFleetWithClock(t)
	first, second := f.Process("first", lease.Options{}), f.Process("second", lease.Options{})
	acquire(t, semaphore(t, first, slow))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	clock.Add(time.Hour)
	if err := acquire(t, semaphore(t, second, slow)).Release(); err != nil {
		t.Error(err)
	}
}

// fatal is a test that ends as a Fatal would.
type fatal struct {
	testing.TB
	text string
}

func (f *fatal) Helper() {}
func (f *fatal) Fatal(args ...any) {
	f.text, _ = args[0].(string)
	panic(f)
}
func (f *fatal) Fatalf(format string, _ ...any) { f.Fatal(format) }

func mustEnd(t *testing.T, do func(testing.TB)) {
	t.Helper()
	f := &fatal{TB: t}
	defer func() {
		if recover() != f {
			t.Error("the test goes on")
		}
	}()
	do(f)
}

func TestAClockDoesNotRunBackwards(t *testing.T) {
	mustEnd(t, func(t testing.TB) {
		_, clock := leasetest.NewFleetWithClock(t)
		clock.Add(-1)
	})
}

func TestABubbleHasAClockOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mustEnd(t, func(t testing.TB) { leasetest.NewFleetWithClock(t) })
	})
}
