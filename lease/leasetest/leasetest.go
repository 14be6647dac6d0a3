// Package leasetest helps to test code that works under leases.
//
// # That the code stops when its lease is lost
//
// [New] makes a manager with a Redis inside the test process, and [Lose] takes a lease away:
//
//	gpu, err := leasetest.New(t).Semaphore(lease.Config{Name: "gpu", Capacity: 1})
//	…
//	err = gpu.Do(t.Context(), func(ctx context.Context) error {
//		leasetest.Lose(lease.FromContext(ctx))
//		return train(ctx) // the code under test
//	})
//	// errors.Is(err, lease.ErrLost), and train has returned
//
// # Without any Redis
//
// Code that takes the method value gpu.Do as a function needs no manager in its tests. A stand-in for
// [lease.Semaphore.Do] is one line, and one for a semaphore at capacity another:
//
//	type do = func(context.Context, func(context.Context) error, ...lease.AcquireOption) error
//
//	free := func(ctx context.Context, fn func(context.Context) error, _ ...lease.AcquireOption) error { return fn(ctx) }
//	full := func(context.Context, func(context.Context) error, ...lease.AcquireOption) error { return lease.ErrAtCapacity }
//
// Under the first, [lease.FromContext] returns nil: code that asks it must expect that.
//
// # Time
//
// The manager goes by the system's clock, and its leases are renewed while a test holds them. Inside a
// testing/synctest bubble that is the bubble's: nothing here uses a socket, so that a test of a MaxWait of a minute or a
// MaxHold of a day takes milliseconds.
//
//	synctest.Test(t, func(t *testing.T) {
//		gpu, err := leasetest.New(t).Semaphore(lease.Config{Name: "gpu", Capacity: 1, MaxHold: 24 * time.Hour})
//		…
//	})
//
// Tests that go by an injected clock use [NewWithClock]: its [Clock] moves the managers' time and that of Redis together, and
// stops where something is to be renewed. [Clock.Add](24*time.Hour) is a day in the life of a lease.
//
// # A fleet
//
// [NewFleet] is a Redis with several processes, and troubles: a process that is partitioned or crashes, a Redis that
// hangs, restarts, or whose clock steps.
package leasetest

import (
	"testing"

	"github.com/eqworks/passbuddy/internal/hooks"
	"github.com/eqworks/passbuddy/lease"
)

// New returns a manager on a Redis of its own, inside this process and without a socket. It logs to the test's output,
// and is closed at the end of the test, which gives back nothing: leases that are still held end then.
func New(t testing.TB) *lease.Manager {
	t.Helper()
	return NewFleet(t).Process("test", lease.Options{}).Manager
}

// Lose takes a lease away, as if no renewal had succeeded until the end of its trust window: when it
// returns, the lease's contexts have ended with a *lease.LostError. As after any such loss, nobody else
// gets the permit before its holder calls Release, or its TTL is over. It works with leases of any
// manager. It does nothing to a lease that has ended. Safe for concurrent use.
func Lose(l *lease.Lease) { hooks.Lose(l) }
