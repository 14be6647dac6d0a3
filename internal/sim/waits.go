package sim

import (
	"slices"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// A wait is one call of Acquire.
type wait struct {
	caller *caller
	weight int
	begin  time.Time
	end    time.Time // zero: it goes on
	lease  *lease.Lease

	swallowed bool // a request of its process was, meanwhile: perhaps its own
}

func (c *checker) waits(by *caller, weight int) *wait {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := &wait{caller: by, weight: weight, begin: time.Now()}
	c.of(by.sem.Name()).waits[x] = true
	return x
}

func (c *checker) waited(x *wait, l *lease.Lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x.end, x.lease = time.Now(), l
	x.swallowed = x.caller.process.host.SwallowedSince(x.begin)
	w := c.of(x.caller.sem.Name())
	delete(w.waits, x)
	if w.over != nil {
		w.over = append(w.over, x)
	}
}

// tooHeavy judges a refusal by weight.
func (c *checker) tooHeavy(x *wait, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.of(x.caller.sem.Name())
	smallest := slices.Min(w.capacities)
	for i := len(w.limits) - 1; i >= 0; i-- {
		if l := w.limits[i]; l.capacity > 0 {
			smallest = min(smallest, l.capacity)
		}
		if w.limits[i].from.Before(x.begin) {
			break
		}
	}
	if x.weight <= smallest {
		c.violateLocked("promise 11: a request for %d of %s was refused, and the capacity was %d: %v", x.weight, w.name, smallest, err)
	}
}

// callers is how many call Acquire in processes that live.
func (c *checker) callers(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	w := c.of(name)
	for x := range w.waits {
		if !x.caller.process.isDead() {
			n += 1
		}
	}
	return n + len(w.lives)
}

// watch begins to note who waits, while all is well.
func (c *checker) watch(f *fleet) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.sems {
		w.over, w.calls, w.unused = []*wait{}, 0, time.Time{}
	}
}

// waitsSince reports whether somebody waits who did at begin, and judges its patience.
func (c *checker) waitsSince(begin time.Time, bounds map[string]time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.sems {
		for x := range w.waits {
			if x.caller.process.isDead() || x.begin.After(begin) || w.disagree(x.weight) {
				continue
			}
			if waited := time.Since(begin); waited > bounds[w.name] {
				c.violateLocked("promise 8: a caller of %s in %s waits for %d of %s since %v, for %v while all is well: %s",
					x.caller.process.name, w.name, x.weight, w.name, x.begin.Format("04:05.000"), waited, w.last)
				return false
			}
			return true
		}
	}
	return false
}

// disagree reports whether some processes take a request for possible, and some do not. What becomes of it is
// open: who believes the smaller capacity drops it, and its own process asks again.
func (w *watched) disagree(weight int) bool {
	return weight > slices.Min(w.capacities) && weight <= slices.Max(w.capacities)
}

// judge judges a calm time that began at begin: who was overtaken, and how often Redis was asked.
func (c *checker) judge(f *fleet, begin time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	passed := time.Since(begin)
	for _, w := range c.sems {
		over := w.over
		w.over = nil
		for _, x := range over {
			if x.begin.After(begin) {
				c.longestWait = max(c.longestWait, x.end.Sub(x.begin))
			}
		}
		c.judgeOrder(f, w, over, begin)
		c.judgeHerd(f, w, len(over), passed)
	}
}

// judgeOrder, promise 8: who came first is served first, across processes. A process tells the queue of its
// oldest callers only, as many as can fill the capacity, and one more; it may take a batch to do so, and
// the time for which permits pass from caller to caller inside it.
func (c *checker) judgeOrder(f *fleet, w *watched, over []*wait, begin time.Time) {
	slack := w.handover() + 10*time.Millisecond + 6*f.trip() + 5*time.Millisecond
	for _, x := range over {
		if x.lease == nil || x.begin.Before(begin) || !c.registers(w, x, f.weights) || x.swallowed {
			continue
		}
		for _, y := range over {
			if y.lease == nil || y.caller.process == x.caller.process || !y.begin.After(x.begin.Add(slack)) || inherited(y) || inherited(x) {
				continue
			}
			if c.granted[y.lease.ID()].at.Before(c.granted[x.lease.ID()].at) { // a token may be of a later poll
				c.violateLocked("promise 8: a caller of %s in %s began to wait for %d at %v, got %s, and was overtaken by one in %s that began %v later and got %s",
					w.name, x.caller.process.name, x.weight, x.begin.Format("04:05.000000"), x.lease.ID(), y.caller.process.name, y.begin.Sub(x.begin), y.lease.ID())
			}
		}
	}
}

// registers reports whether all callers of x's process together are so few that each stands in the queue.
// Where processes disagree on the capacity, one drops from the queue what another takes for possible.
func (c *checker) registers(w *watched, x *wait, weights bool) bool {
	n := x.caller.process.perSemaphore
	if weights && len(w.capacities) > 1 {
		return false
	}
	return n <= 2 || !weights && n <= slices.Min(w.capacities)+1
}

// inherited reports whether the permit was given to somebody else first, who was there before.
func inherited(x *wait) bool {
	return handed(x.lease) > 0 || askedAt(x.lease.ID()).Before(x.begin.Truncate(time.Millisecond))
}

// judgeHerd, promise 9: each acquire costs a few calls whatever the number of waiters, and each process has
// its own slow poll.
func (c *checker) judgeHerd(f *fleet, w *watched, acquires int, passed time.Duration) {
	bound := 3*acquires + 10
	for _, p := range f.alive() {
		for _, s := range p.sems {
			if s.Name() == w.name {
				cfg := s.Config()
				if f.changing { // it may be another by now
					cfg.TTL = slices.Min(w.ttls)
					cfg.RetryInterval = cfg.TTL / f.retry
				}
				bound += int(passed/(cfg.RetryInterval*3/4)) + int(passed/(cfg.TTL/4)) + 2
			}
		}
	}
	if w.calls > bound {
		c.violateLocked("promise 9: %d calls for %d acquires of %s in %v; %d would do", w.calls, acquires, w.name, passed, bound)
	}
}
