package sim

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// A life is one lease from its acquire to its release.
type life struct {
	process *process
	lease   *lease.Lease
	weight  int
	slots   []int
	child   context.Context // of Held: it does not look at the clock by itself
	grant   grant
	score   int64 // its expiry in Redis, ms, as last seen
	back    bool  // its holder has said that it may go back
}

// begin enters a lease, and judges its token.
func (c *checker) begin(wait *wait, l *lease.Lease, child context.Context) *life {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.of(l.Name())
	x := &life{process: wait.caller.process, lease: l, weight: wait.weight, slots: l.Slots(), child: child, grant: c.granted[l.ID()]}
	token := l.Token()
	w.lives = append(w.lives, x)
	if w.tokens[token] {
		c.violateLocked("promise 10: token %d of %s was given twice", token, w.name)
	}
	w.tokens[token] = true
	if token <= w.latest && c.epochs == 0 && c.largestSince(w, time.Time{}) == 1 {
		c.violateLocked("promise 10: token %d of %s comes after %d", token, w.name, w.latest)
	}
	w.latest = max(token, w.latest)
	if got := weightOf(l.ID()); got != wait.weight {
		c.violateLocked("promise 1: a lease of weight %d of %s is on a permit of weight %d", wait.weight, w.name, got)
	}
	if n := len(l.Slots()); n != 0 && !w.slots || w.slots && n != wait.weight {
		c.violateLocked("slots: a lease of weight %d of %s has %v", wait.weight, w.name, l.Slots())
	}
	if given := time.UnixMicro(token / 1000); token%1000 > 0 && c.epochs == 0 && wait.end.Sub(given) > w.handover()+time.Millisecond && !wait.caller.process.pausedSince(given) {
		c.judgeReuse(w, x, wait)
	}
	return x
}

// judgeReuse judges a lease on a permit that another lease of its process had, for too long for a hand-over: the permit
// lingered. It may do so until somebody of another process has waited for Linger, and no longer.
func (c *checker) judgeReuse(w *watched, x *life, wait *wait) {
	if w.linger() == 0 {
		c.violateLocked("promise 8: lease %s of %s was handed over long after Redis gave it", x.lease.ID(), w.name)
	}
	for id, since := range w.since {
		waits := wait.end.Sub(since)
		if ownerOf(id) != ownerOf(x.lease.ID()) && waits > w.linger() && !wait.caller.process.pausedSince(since) {
			c.violateLocked("promise 8: lease %s of %s was reused while %s waits, for %v", x.lease.ID(), w.name, id, waits)
		}
	}
}

// judgeLives judges the leases whose contexts live.
func (c *checker) judgeLives(w *watched, seen view, now time.Time) {
	live, oldest := 0, now
	slots := map[int]*life{}
	for _, x := range w.lives {
		if x.child.Err() != nil || !x.process.runs() {
			continue
		}
		if late := now.Sub(x.lease.TrustedUntil()); late > 0 {
			c.violateLocked("promise 2: lease %s of %s lives %v after its trust window", x.lease.ID(), w.name, late)
		}
		// A jump of the server's clock that nobody has told the process of is not promised anything: a notification that
		// is late by as much may look as if it came at once, until the next call is answered.
		h, held := seen.holders[x.lease.ID()]
		if held {
			x.score = int64(h.expiry)
		}
		over := x.lease.TrustedUntil().Sub(time.UnixMilli(x.score).Add(-c.network.offset))
		if x.grant.epoch != c.epochs || !x.process.host.Knows(now) {
			// But a process that has been told trusts nothing by the clock from before. A step that is shorter than a TTL may
			// be hidden by an answer that took as long; and where the answer is that to an attempt that was given up, the
			// process asks once more. What a dead connection has swallowed is waited for until it is given up.
			lately := now.Add(-slices.Max(w.ttls))
			if c.told(w, x, now.Add(-2*c.soon)) && !x.process.host.SwallowedSince(lately) && c.plain && now.After(c.vague) && x.score > 0 && x.grant.epoch >= c.emptied && over > slices.Max(w.ttls) {
				c.violateLocked("promise 2: lease %s of %s is trusted for %v longer than Redis keeps its permit by its new clock", x.lease.ID(), w.name, over)
			}
			continue
		}
		live += x.weight
		for _, slot := range x.slots {
			if y := slots[slot]; y != nil {
				c.violateLocked("slots: leases %s and %s of %s live and have slot %d", y.lease.ID(), x.lease.ID(), w.name, slot)
			}
			slots[slot] = x
			if most := c.largestSince(w, x.grant.at); slot >= most {
				c.violateLocked("slots: lease %s of %s has slot %d, capacity %d", x.lease.ID(), w.name, slot, most)
			}
		}
		if x.grant.at.Before(oldest) {
			oldest = x.grant.at
		}
		if h.live != x.weight {
			c.violateLocked("promise 2: lease %s of %s lives, and Redis counts %d of its %d permits", x.lease.ID(), w.name, h.live, x.weight)
		}
		if over > 0 {
			c.violateLocked("promise 2: lease %s of %s is trusted for %v longer than Redis keeps its permit", x.lease.ID(), w.name, over)
		}
	}
	if most := c.largestSince(w, oldest); live > most {
		c.violateLocked("promise 1: leases on %d permits of %s live, capacity %d", live, w.name, most)
	}
}

// A steady lease is on a name that nobody else wants. It is judged whenever it is renewed.
type steady struct {
	life
	expiry float64 // after the latest renewal, ms; 0: there was none, or another script ran after it
}

// holds enters a steady lease, in place of the one before it of the same name. It was asked for in that epoch.
func (c *checker) holds(name string, p *process, l *lease.Lease, epoch int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.steady["passbuddy-"+name] = &steady{life: life{process: p, lease: l, grant: grant{epoch: epoch}}}
}

// judgeSteady judges what a renewal did to x: it revives no permit whose time is up, and the lease was not trusted for longer
// than Redis keeps its permit.
func (c *checker) judgeSteady(s *script, x *steady, now time.Time) {
	if s.verb != "renew" { // who acquires the name anew may get the same id
		x.expiry = 0
		return
	}
	expiry, err := c.network.redis.ZScore(s.holders, x.lease.ID())
	if err != nil || expiry == 0 || !contains(s.ids(), x.lease.ID()) {
		return
	}
	server := now.Add(c.network.offset).UnixMicro()
	if x.expiry > 0 && c.judgedIn == c.epochs && int64(x.expiry)*1000 <= server && int64(expiry)*1000 > server {
		c.violateLocked("promise 4: renewing %s of %s revived it", x.lease.ID(), s.holders)
	}
	x.expiry = expiry
	if x.grant.epoch != c.epochs || !x.process.runs() || !x.process.host.Knows(now) {
		return
	}
	if over := x.lease.TrustedUntil().Sub(time.UnixMilli(int64(expiry)).Add(-c.network.offset)); over > 0 {
		c.violateLocked("promise 2: lease %s of %s is trusted for %v longer than Redis keeps its permit", x.lease.ID(), s.holders, over)
	}
}

// told reports whether the process of x can know the server's present clock: by an answer about w, or by one about
// another semaphore of which it has held a lease since before the clock jumped, unless another node of a Cluster may
// have taken over.
func (c *checker) told(w *watched, x *life, at time.Time) bool {
	if x.process.host.KnowsBy(w.key(), at) {
		return true
	}
	for _, other := range c.sems {
		for _, y := range other.lives {
			if !c.clustered && y.process == x.process && y.grant.epoch < c.epochs && y.child.Err() == nil && x.process.host.KnowsBy(other.key(), at) {
				return true
			}
		}
	}
	return false
}

// ask has the contexts of a process that wakes up look at the clock.
func (c *checker) ask(p *process) {
	c.mu.Lock()
	var own []*life
	for _, w := range c.sems {
		for _, x := range w.lives {
			if x.process == p {
				own = append(own, x)
			}
		}
	}
	c.mu.Unlock()
	for _, x := range own {
		_ = x.lease.Context().Err()
		_ = x.lease.Held().Err()
	}
}

// releasing says that the holder of x is about to give its permit back.
func (c *checker) releasing(x *life) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x.back = true
}

// revoking says that an operator is about to revoke an id.
func (c *checker) revoking(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revoked[id] = true
}

// lost judges a loss.
func (c *checker) lost(l *lease.Lease, err error, gentle bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var loss *lease.LostError
	switch {
	case c.revoked[l.ID()]:
	case gentle:
		c.violateLocked("promise 3: a lease was lost to trouble shorter than TTL/3: %v", err)
	case errors.As(err, &loss) && loss.Reason == lease.LossRevoked:
		c.violateLocked("promise 6: a lease was revoked, and nobody did: %v", err)
	}
}

func (c *checker) end(x *life) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.of(x.lease.Name())
	w.lives = slices.DeleteFunc(w.lives, func(y *life) bool { return x == y })
}
