package leasetest

import (
	"runtime"
	"testing"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/eqworks/passbuddy/internal/hooks"
	"github.com/eqworks/passbuddy/lease"
)

// A Clock is the clock of managers and of their Redis, and stands still until the test moves it. It is a clock.Clock: give
// it to code that takes one, too.
type Clock struct {
	clock.Clock
	mock  *clock.Mock
	fleet *Fleet
}

// NewWithClock is New with a clock that the test moves. It is for tests that do not use testing/synctest.
func NewWithClock(t testing.TB) (*lease.Manager, *Clock) {
	t.Helper()
	f, c := NewFleetWithClock(t)
	return f.Process("test", lease.Options{}).Manager, c
}

// NewFleetWithClock is NewFleet with a clock that the test moves. It is for tests that do not use testing/synctest.
func NewFleetWithClock(t testing.TB) (*Fleet, *Clock) {
	t.Helper()
	if inBubble() {
		t.Fatal("leasetest: in a testing/synctest bubble use New or NewFleet: time is the bubble's, and passes by itself")
	}
	mock := clock.NewMock()
	mock.Set(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC))
	f := NewFleet(t)
	f.net.SetClock(mock.Now)
	f.net.Server().ClockTTL(true)
	f.clock = &Clock{mock, mock, f}
	return f, f.clock
}

// Add moves the time on by d: that of the managers, of Redis, and of what else goes by the clock. It stops wherever a
// manager has something to do, such as a renewal, and goes on when Redis has answered, so that a lease lives as it would
// if the time had passed by itself. When it returns, all that was due is done, and the tracers have been told.
//
// It does not wait for what the code under test does by timers of its own; call Add up to there first.
//
// It takes a few milliseconds for each renewal: a test of a day wants a TTL of an hour. Not to be used concurrently.
func (c *Clock) Add(d time.Duration) {
	t := c.fleet.t
	t.Helper()
	if d < 0 {
		t.Fatalf("leasetest: Clock.Add(%v): time does not run backwards; Fleet.SetClock sets Redis's clock back", d)
	}
	for end := c.Now().Add(d); ; {
		next := c.settle()
		if next.IsZero() || next.After(end) {
			c.mock.Add(end.Sub(c.Now()))
			c.settle()
			return
		}
		c.mock.Add(next.Sub(c.Now()))
	}
}

// settle waits until the managers have done what is due, and returns when the next thing is; zero: never.
func (c *Clock) settle() (next time.Time) {
	c.fleet.t.Helper()
	deadline := time.Now().Add(settleTimeout)
	for {
		next, settled := c.fleet.settled()
		if settled {
			return next
		}
		if time.Now().After(deadline) {
			c.fleet.t.Fatalf("leasetest: after %v a manager still waits for Redis, or a tracer has not returned", settleTimeout)
		}
		runtime.Gosched()
	}
}

const settleTimeout = 30 * time.Second // of the system's clock

func (f *Fleet) settled() (next time.Time, settled bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range f.processes {
		first, quiet := hooks.Settled(p.Manager, !f.stalled && !p.cut)
		if !quiet {
			return next, false
		}
		if !first.IsZero() && (next.IsZero() || first.Before(next)) {
			next = first
		}
	}
	return next, true
}
