package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// A caller acquires, works under the lease's context, tears down and releases, over and over, in each
// of the ways in which people do it.
type caller struct {
	fleet   *fleet
	process *process
	sem     *lease.Semaphore
	rand    *rand.Rand
}

func (c *caller) upTo(d time.Duration) time.Duration { return time.Duration(c.rand.Int64N(int64(d))) }

// short is a moment, most of the time.
func (c *caller) short(ttl time.Duration) time.Duration {
	if c.chance(60) {
		return c.upTo(ttl / 20)
	}
	return c.upTo(ttl)
}

func (c *caller) chance(percent int) bool { return c.rand.IntN(100) < percent }

func (c *caller) run() {
	ttl := c.sem.Config().TTL
	for c.sleep(c.fleet.stop, 3*c.short(ttl)) && c.process.gate() {
		c.once(ttl)
	}
}

// sleep reports whether the time passed before ctx ended.
func (c *caller) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

var errChangedMind = errors.New("the caller changed its mind")

func (c *caller) once(ttl time.Duration) {
	ctx, cancel := context.WithCancelCause(c.fleet.stop)
	defer cancel(nil)
	var opts []lease.AcquireOption
	switch {
	case c.chance(20):
		opts = append(opts, lease.MaxWait(c.upTo(2*ttl)))
	case c.chance(10):
		opts = append(opts, lease.MaxWait(0))
	case c.chance(30):
		t := time.AfterFunc(c.upTo(ttl), func() { cancel(errChangedMind) })
		defer t.Stop()
	}
	maxHold := c.chance(10)
	if maxHold {
		opts = append(opts, lease.MaxHold(1+c.upTo(2*ttl)))
	}
	l, err := c.sem.Acquire(ctx, opts...)
	if !c.process.gate() {
		return
	}
	if err != nil {
		if !isKnown(err) {
			c.fleet.checker.violate("promise 6: Acquire gave no reason that the documentation knows: %v", err)
		}
		if errors.Is(err, lease.ErrAtCapacity) {
			c.fleet.refused.Add(1)
		} else {
			c.fleet.failed.Add(1)
		}
		return
	}
	c.fleet.acquired.Add(1)
	c.work(l, cancel, ttl, maxHold)
}

// work holds l for a while: under a child of its context, as an errgroup or a timeout would make one,
// which cannot look at the clock by itself.
func (c *caller) work(l *lease.Lease, cancel context.CancelCauseFunc, ttl time.Duration, maxHold bool) {
	child, end := context.WithCancel(l.Context())
	defer end()
	held, endHeld := context.WithCancel(l.Held())
	defer endHeld()
	life := c.fleet.checker.begin(c.process, l, held)
	defer c.fleet.checker.end(life)

	d := c.short(ttl)
	if c.chance(10) {
		d = c.upTo(4 * ttl)
	}
	if c.sleep(child, d) && c.chance(20) {
		cancel(errChangedMind)
	}
	if !c.process.gate() {
		return
	}
	if child.Err() != nil { // teardown comes before the release, under Held
		c.sleep(held, c.upTo(ttl/2))
		if !c.process.gate() {
			return
		}
	}
	err := l.Err()
	if child.Err() != nil && (err == nil || context.Cause(child) == nil) {
		c.fleet.checker.violate("promise 6: a lease's context ended and nobody says why: %v, %v", err, context.Cause(child))
	}
	over := held.Err() != nil
	if over && !errors.Is(err, lease.ErrLost) && !errors.Is(err, lease.ErrMaxHold) && !errors.Is(err, lease.ErrClosed) {
		c.fleet.checker.violate("promise 6: a held lease ended for no reason of its own: %v", err)
	}
	if errors.Is(err, lease.ErrLost) {
		c.fleet.lost.Add(1)
		if c.fleet.plan.Gentle {
			c.fleet.checker.violate("promise 3: a lease was lost to trouble shorter than TTL/3: %v", err)
		}
	}
	back := l.Release()
	if !c.process.gate() {
		return
	}
	switch {
	case held.Err() == nil:
		c.fleet.checker.violate("promise 5: Release returned before the contexts ended")
	case back == nil, errors.Is(back, lease.ErrLost), errors.Is(back, lease.ErrMaxHold), errors.Is(back, lease.ErrClosed):
	case errors.As(back, new(*lease.RedisError)):
	default:
		c.fleet.checker.violate("promise 6: Release gave no reason that the documentation knows: %v", back)
	}
	if c.fleet.plan.Gentle && errors.Is(back, lease.ErrLost) && !maxHold {
		c.fleet.checker.violate("promise 3: Release found the permit gone: %v", back)
	}
}
