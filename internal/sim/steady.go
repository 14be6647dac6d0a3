package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// manyNames is how many names of its own a process holds in every second fleet: what one semaphore learns of the
// server, the others must not learn again and again.
const manyNames = 220

// holdMany has p hold leases of many names. Nobody else wants them. A few have the TTL of a semaphore that
// the fleet shares: they are renewed in one call with leases that are lost, revoked and waited for.
func (f *fleet) holdMany(p *process) {
	for i := range manyNames {
		ttl := []time.Duration{15 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute}[i%4]
		if i%16 == 0 {
			ttl = f.sems[0].ttls[0]
		}
		sem, err := p.manager.Semaphore(lease.Config{Name: fmt.Sprintf("%s-%d", p.name, i), Capacity: 1, TTL: ttl})
		if err != nil {
			panic(err)
		}
		f.callers.Go(func() { f.hold(p, sem, ttl) })
	}
}

// Of the heavy leases, and how many arguments the commands have that renew them all.
const (
	heavyLeases = 4
	heavyWeight = 250
	heavyWork   = 2 * heavyLeases * heavyWeight
)

// work is about how many arguments the commands have that renew all that is held for long.
func (f *fleet) work() time.Duration {
	work := heavyWork
	if f.holdsMany() {
		work += 16 * manyNames
	}
	return time.Duration(work)
}

// holdsMany reports whether a process holds leases of many names.
func (f *fleet) holdsMany() bool { return f.plan.Seed/2%2 == 0 }

// holdHeavy has p hold leases of great weight. Nobody else wants them.
func (f *fleet) holdHeavy(p *process) {
	ttl := f.shortestTTL()
	sem, err := p.manager.Semaphore(lease.Config{Name: p.name + "-heavy", Capacity: heavyLeases * heavyWeight, TTL: ttl})
	if err != nil {
		panic(err)
	}
	for range heavyLeases {
		f.callers.Go(func() { f.hold(p, sem, ttl, lease.Weight(heavyWeight)) })
	}
}

// hold holds leases until the end, in a gentle fleet a single one, which may not be lost. Elsewhere a lease that begins after
// the server's clock jumped is judged as one before it was.
func (f *fleet) hold(p *process, sem *lease.Semaphore, ttl time.Duration, opts ...lease.AcquireOption) {
	var soon <-chan time.Time
	for f.stop.Err() == nil {
		epoch := f.checker.epochNow()
		l, err := sem.Acquire(f.stop, opts...)
		if errors.Is(err, lease.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Second) // the server is away
			continue
		}
		if len(opts) == 0 {
			f.checker.holds(sem.Name(), p, l, epoch)
		}
		if !f.plan.Gentle {
			soon = time.After(3 * ttl)
		}
		select {
		case <-f.stop.Done():
		case <-soon:
		case <-l.Held().Done():
			if f.plan.Gentle && errors.Is(l.Err(), lease.ErrLost) {
				f.checker.violate("promise 3: a lease of %s, which nobody else wants, was lost: %v", sem.Name(), l.Err())
			}
		}
		_ = l.Release()
	}
}
