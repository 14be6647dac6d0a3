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

// holdMany has p hold leases of many names until the end. Nobody else wants them. A few have the TTL of a semaphore that
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
		f.callers.Go(func() { f.holdOne(p, sem) })
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

// holdHeavy has p hold leases of great weight until the end. Nobody else wants them.
func (f *fleet) holdHeavy(p *process) {
	sem, err := p.manager.Semaphore(lease.Config{Name: p.name + "-heavy", Capacity: heavyLeases * heavyWeight, TTL: f.shortestTTL()})
	if err != nil {
		panic(err)
	}
	for range heavyLeases {
		f.callers.Go(func() { f.holdOne(p, sem, lease.Weight(heavyWeight)) })
	}
}

// holdOne holds a lease until the end. In a gentle fleet it may not be lost.
func (f *fleet) holdOne(p *process, sem *lease.Semaphore, opts ...lease.AcquireOption) {
	var l *lease.Lease
	for l == nil {
		var err error
		if l, err = sem.Acquire(f.stop, opts...); err != nil {
			if f.stop.Err() != nil || errors.Is(err, lease.ErrClosed) {
				return
			}
			time.Sleep(time.Second) // the server was away when it was asked first
		}
	}
	select {
	case <-f.stop.Done():
	case <-l.Held().Done():
		if f.plan.Gentle && errors.Is(l.Err(), lease.ErrLost) {
			f.checker.violate("promise 3: a lease of %s, which nobody else wants, was lost: %v", sem.Name(), l.Err())
		}
	}
	_ = l.Release()
}
