package leasetest_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

// train is code under test: it works in steps, until it is done or its context ends.
func train(ctx context.Context, steps int) error {
	for range steps {
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}

// A user's test: my code stops when the lease is lost.
func TestTrainingStopsWhenTheLeaseIsLost(t *testing.T) {
	gpu, err := leasetest.New(t).Semaphore(lease.Config{Name: "gpu", Capacity: 1})
	if err != nil {
		t.Fatal(err)
	}
	err = gpu.Do(t.Context(), func(ctx context.Context) error {
		leasetest.Lose(lease.FromContext(ctx))
		return train(ctx, 1)
	})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, lease.ErrLost) {
		t.Errorf("training returned %v", err)
	}
}

func TestLoseEndsALeaseAsItsWindowsEndDoes(t *testing.T) {
	s, err := leasetest.New(t).Semaphore(lease.Config{Name: "gpu", Capacity: 1})
	if err != nil {
		t.Fatal(err)
	}
	l, err := s.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	child, cancel := context.WithCancel(l.Context())
	defer cancel()
	leasetest.Lose(l)
	var lost *lease.LostError
	if child.Err() == nil || l.Held().Err() == nil || l.Valid() || !errors.As(l.Err(), &lost) || lost.Reason != lease.LossExpired {
		t.Errorf("child %v, Err %v", child.Err(), l.Err())
	}
	if _, err := s.TryAcquire(t.Context()); !errors.Is(err, lease.ErrAtCapacity) {
		t.Errorf("the permit was free before its holder released it: %v", err)
	}
	leasetest.Lose(l) // nothing happens
	if err := l.Release(); !errors.Is(err, lease.ErrLost) {
		t.Errorf("Release returned %v", err)
	}
	next, err := s.TryAcquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	leasetest.Lose(l)
	if !next.Valid() {
		t.Error("losing a lease that had ended took another away")
	}
	if err := next.Release(); err != nil {
		t.Error(err)
	}
	leasetest.Lose(next)
	if !errors.Is(next.Err(), lease.ErrReleased) {
		t.Error(next.Err())
	}
}

// The manager of a test that has ended is closed, and its Redis with it.
func TestNewCleansUp(t *testing.T) {
	var m *lease.Manager
	var l *lease.Lease
	t.Run("a test that leaves a lease behind", func(t *testing.T) {
		m = leasetest.New(t)
		s, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 1})
		if err != nil {
			t.Fatal(err)
		}
		if l, err = s.Acquire(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
	if !errors.Is(l.Err(), lease.ErrClosed) {
		t.Errorf("the lease: %v", l.Err())
	}
	if err := m.Ping(context.Background()); !errors.Is(err, lease.ErrClosed) {
		t.Errorf("the manager: %v", err)
	}
}

// A service takes what it needs of a semaphore, not the semaphore: its tests need no Redis. The program
// makes it as service{guard: gpu.Do}.
type service struct {
	guard func(context.Context, func(context.Context) error, ...lease.AcquireOption) error
}

func (s *service) train(ctx context.Context) string {
	err := s.guard(ctx, func(ctx context.Context) error { return train(ctx, 10) })
	switch {
	case errors.Is(err, lease.ErrAtCapacity):
		return "come back later"
	case err != nil:
		return err.Error()
	default:
		return "trained"
	}
}

var _ = service{guard: (*lease.Semaphore)(nil).Do}

// How to fake Do: one stand-in for a permit that is free, and one for a semaphore at capacity.
func Example_withoutRedis() {
	free := func(ctx context.Context, fn func(context.Context) error, _ ...lease.AcquireOption) error {
		return fn(ctx)
	}
	full := func(context.Context, func(context.Context) error, ...lease.AcquireOption) error {
		return lease.ErrAtCapacity
	}

	fmt.Println((&service{guard: free}).train(context.Background()))
	fmt.Println((&service{guard: full}).train(context.Background()))
	// Output:
	// trained
	// come back later
}
