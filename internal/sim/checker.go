package sim

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// A checker judges a fleet at every instant that matters: after each command that the server executed.
// It looks at two things, because the first alone misses a renewal that adds a permit: the leases whose
// contexts live, and the members in Redis.
type checker struct {
	network *Network
	sems    []lease.Config

	mu         sync.Mutex
	lives      map[string][]*life // by semaphore
	tokens     map[string]int64   // the latest
	seen       map[string]map[int64]bool
	granted    map[string]int // the epoch in which an id was first seen in Redis
	epochs     int            // how often Redis lost its data or its clock jumped
	commands   int
	violations []string
}

// A life is one lease from its acquire to its release.
type life struct {
	process *process
	lease   *lease.Lease
	child   context.Context // of Held: it does not look at the clock by itself
	epoch   int
}

func newChecker(n *Network, sems []lease.Config) *checker {
	c := &checker{network: n, sems: sems, lives: map[string][]*life{}, tokens: map[string]int64{}, seen: map[string]map[int64]bool{}, granted: map[string]int{}}
	n.OnCommand(func(_ string, now time.Time, _ []string) { c.check(now) })
	return c
}

func (c *checker) violate(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violateLocked(format, args...)
}

func (c *checker) violateLocked(format string, args ...any) {
	if len(c.violations) < 10 {
		at := time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) // when bubbles begin
		c.violations = append(c.violations, fmt.Sprintf("at %v: ", at)+fmt.Sprintf(format, args...))
	}
}

// epoch does something after which the leases that live are not judged by their permits any more: Redis
// loses its data, or its clock jumps. The server does nothing else meanwhile.
func (c *checker) epoch(do func()) {
	c.network.Stall()
	c.mu.Lock()
	c.epochs++
	c.mu.Unlock()
	do()
	c.network.Resume()
}

// begin enters a lease, and judges its token.
func (c *checker) begin(p *process, l *lease.Lease, child context.Context) *life {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := &life{process: p, lease: l, child: child, epoch: c.granted[l.ID()]}
	name, token := l.Name(), l.Token()
	c.lives[name] = append(c.lives[name], x)
	if c.seen[name] == nil {
		c.seen[name] = map[int64]bool{}
	}
	if c.seen[name][token] {
		c.violateLocked("promise 10: token %d of %s was given twice", token, name)
	}
	c.seen[name][token] = true
	if c.capacity(name) == 1 && token <= c.tokens[name] && c.epochs == 0 {
		c.violateLocked("promise 10: token %d of %s comes after %d", token, name, c.tokens[name])
	}
	c.tokens[name] = max(token, c.tokens[name])
	return x
}

func (c *checker) capacity(name string) int {
	i := slices.IndexFunc(c.sems, func(s lease.Config) bool { return s.Name == name })
	return c.sems[i].Capacity
}

func (c *checker) end(x *life) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := x.lease.Name()
	c.lives[name] = slices.DeleteFunc(c.lives[name], func(y *life) bool { return x == y })
}

// ask has the contexts of a process that wakes up look at the clock.
func (c *checker) ask(p *process) {
	c.mu.Lock()
	var own []*life
	for _, lives := range c.lives {
		for _, x := range lives {
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

// check judges this instant. It runs on the server's thread.
func (c *checker) check(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commands++
	server := now.Add(c.network.offset)
	for _, s := range c.sems {
		members, _ := c.network.Server().SortedSet("passbuddy-" + s.Name) // an error: there is none
		counted := 0
		for id, score := range members {
			if _, known := c.granted[id]; !known {
				c.granted[id] = c.epochs
			}
			if int64(score)*1000 > server.UnixMicro() {
				counted++
			}
		}
		if counted > s.Capacity {
			c.violateLocked("promise 1: %d members of %s count in Redis, capacity %d", counted, s.Name, s.Capacity)
		}
		live := 0
		for _, x := range c.lives[s.Name] {
			if x.child.Err() != nil || !x.process.runs() {
				continue
			}
			if late := now.Sub(x.lease.TrustedUntil()); late > 0 {
				c.violateLocked("promise 2: lease %s of %s lives %v after its trust window", x.lease.ID(), s.Name, late)
			}
			if x.epoch != c.epochs {
				continue
			}
			live++
			if score, found := members[x.lease.ID()]; !found || int64(score)*1000 <= server.UnixMicro() {
				c.violateLocked("promise 2: lease %s of %s lives, and Redis has given its permit away (found: %v)", x.lease.ID(), s.Name, found)
			}
		}
		if live > s.Capacity {
			c.violateLocked("promise 1: %d leases of %s live, capacity %d", live, s.Name, s.Capacity)
		}
	}
}

// checkEmpty judges the end: nothing counts any more.
func (c *checker) checkEmpty() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.network.exec.Lock()
	defer c.network.exec.Unlock()
	server := time.Now().Add(c.network.offset)
	for _, s := range c.sems {
		members, _ := c.network.Server().SortedSet("passbuddy-" + s.Name)
		for id, score := range members {
			if int64(score)*1000 > server.UnixMicro() {
				c.violateLocked("promise 7: %s of %s is left over", id, s.Name)
			}
		}
	}
}
