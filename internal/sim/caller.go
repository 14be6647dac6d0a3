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
	what    semaphore // what sem is a handle of
	rand    *rand.Rand
	greedy  bool // asks again at once, a few times in a row
}

func (c *caller) upTo(d time.Duration) time.Duration { return time.Duration(c.rand.Int64N(int64(d))) }

// short is a moment, most of the time.
func (c *caller) short(ttl time.Duration) time.Duration {
	if c.chance(60) {
		return c.upTo(quick(ttl))
	}
	return c.upTo(ttl)
}

func (c *caller) chance(percent int) bool { return c.rand.IntN(100) < percent }

func (c *caller) run() {
	again := 0
	for {
		ttl := c.sem.Config().TTL
		if again--; again <= 0 {
			if !sleep(c.fleet.stop, 3*c.short(ttl)) {
				return
			}
			if c.greedy {
				again = c.rand.IntN(12)
			}
		}
		if c.fleet.stop.Err() != nil || !c.process.gate() {
			return
		}
		if c.fleet.changing && c.chance(5) {
			sem, err := c.process.manager.Semaphore(c.fleet.declare(c.what, c.rand))
			if err != nil {
				return // the process ends
			}
			c.sem = sem
		}
		c.once(c.sem.Config().TTL, again > 0)
	}
}

// sleep reports whether the time passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// linger is sleep, cut short when all is well: then callers are quick.
func (c *caller) linger(ctx context.Context, d, ttl time.Duration) bool {
	brisk := c.fleet.brisk()
	select {
	case <-brisk:
		return sleep(ctx, min(d, c.upTo(quick(ttl))))
	default:
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-brisk:
	case <-ctx.Done():
		return false
	}
	return true
}

var errChangedMind = errors.New("the caller changed its mind")

func (c *caller) once(ttl time.Duration, hurry bool) {
	ctx, cancel := context.WithCancelCause(c.fleet.stop)
	defer cancel(nil)
	var opts []lease.AcquireOption
	switch {
	case c.chance(20):
		opts = append(opts, lease.MaxWait(c.upTo(2*ttl)))
	case c.chance(10):
		opts = append(opts, lease.MaxWait(-1))
	case c.chance(30):
		t := time.AfterFunc(c.upTo(ttl), func() { cancel(errChangedMind) })
		defer t.Stop()
	}
	maxHold := c.chance(10)
	if maxHold {
		opts = append(opts, lease.MaxHold(1+c.upTo(2*ttl)))
	}
	weight := 1
	if c.fleet.weights && c.chance(50) {
		if weight = 1 + c.rand.IntN(c.sem.Config().Capacity); c.chance(4) {
			weight = c.sem.Config().Capacity + 1
		}
		opts = append(opts, lease.Weight(weight))
	}
	if c.fleet.labelled {
		opts = append(opts, lease.Label([]string{"", "a job", " b:~ "}[c.rand.IntN(3)]))
	}
	wait := c.fleet.checker.waits(c, weight)
	l, err := c.sem.Acquire(ctx, opts...)
	c.fleet.checker.waited(wait, l)
	if !c.process.gate() {
		return
	}
	if err != nil {
		switch {
		case errors.Is(err, lease.ErrOption):
			c.fleet.checker.tooHeavy(wait, err)
			c.fleet.refused.Add(1)
		case errors.Is(err, lease.ErrDisagreement):
			if !c.sem.Config().Strict || !c.what.disagrees() {
				c.fleet.checker.violate("a caller of %s is refused for a disagreement that there is not: %v", c.what.name, err)
			}
			c.fleet.refused.Add(1)
		case !isKnown(err):
			c.fleet.checker.violate("promise 6: Acquire gave no reason that the documentation knows: %v", err)
		case errors.Is(err, lease.ErrAtCapacity):
			c.fleet.refused.Add(1)
		default:
			c.fleet.failed.Add(1)
		}
		return
	}
	c.fleet.acquired.Add(1)
	if handed(l) > 0 {
		c.fleet.passed.Add(1)
	}
	c.work(l, wait, cancel, maxHold, hurry)
}

// handed is how often the permit of a lease had been passed on inside its process before.
func handed(l *lease.Lease) int64 { return l.Token() % 1000 }

// work holds l for a while: under a child of its context, as an errgroup or a timeout would make one,
// which cannot look at the clock by itself.
func (c *caller) work(l *lease.Lease, wait *wait, cancel context.CancelCauseFunc, maxHold, hurry bool) {
	ttl := c.sem.Config().TTL
	child, end := context.WithCancel(l.Context())
	defer end()
	held, endHeld := context.WithCancel(l.Held())
	defer endHeld()
	life := c.fleet.checker.begin(wait, l, held)
	defer c.fleet.checker.end(life)

	d := c.short(ttl)
	if c.chance(10) {
		d = c.upTo(4 * ttl)
	}
	if hurry {
		d = c.upTo(10 * time.Millisecond)
	}
	if c.linger(child, d, ttl) && c.chance(20) {
		cancel(errChangedMind)
	}
	if !c.process.gate() {
		return
	}
	if child.Err() != nil { // teardown comes before the release, under Held
		c.linger(held, c.upTo(ttl/2), ttl)
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
		c.fleet.checker.lost(l, err, c.fleet.plan.Gentle)
	}
	c.fleet.checker.releasing(life)
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
	if errors.Is(back, lease.ErrLost) && !maxHold {
		c.fleet.checker.lost(l, back, c.fleet.plan.Gentle)
	}
}
