package lease_test

import (
	"context"
	"flag"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

var heaviest = flag.Bool("heaviest", false, "hold 200 and 500 heavy leases as well, for a minute")

// To renew a hundred thousand permits takes Redis longer than one attempt may take.
func TestRealRedisHeavyLeasesAreRenewedByParts(t *testing.T) {
	alone(t)
	for _, tc := range []struct {
		leases int
		ttl    time.Duration
		often  bool
	}{{100, 2 * time.Second, true}, {200, 5 * time.Second, false}, {500, 15 * time.Second, false}} {
		if !tc.often && !*heaviest {
			continue
		}
		if !thorough() && !*heaviest {
			tc.leases /= 2
		}
		t.Run(fmt.Sprintf("%d leases of 1,000, TTL %v", tc.leases, tc.ttl), func(t *testing.T) {
			if err := holdHeavy(t, tc.leases, tc.ttl); err != nil {
				t.Errorf("lost %v", err)
			}
		})
	}
}

// heavyTTL is ttl, or more on a machine that is busy: four times what the server needs there to renew all of them.
func heavyTTL(t *testing.T, s func(time.Duration) *lease.Semaphore, leases int, ttl time.Duration) time.Duration {
	t.Helper()
	const few = 10
	probe := s(time.Minute)
	var held [few]*lease.Lease
	start := time.Now()
	for i := range held {
		held[i] = realAcquire(t, probe, lease.Weight(1000))
	}
	took := time.Since(start)
	for _, l := range held {
		_ = l.Release()
	}
	return max(ttl, 4*took*time.Duration(leases)/few)
}

// holdHeavy holds that many leases for three TTLs, or half of that, and returns why the first of them was lost.
func holdHeavy(t *testing.T, leases int, ttl time.Duration) (loss error) {
	t.Helper()
	m, err := lease.New(redistest.Start(t).Client(t), lease.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	semaphore := func(ttl time.Duration) *lease.Semaphore {
		return gpu(t, m, lease.Config{Capacity: 1000 * leases, TTL: ttl})
	}
	ttl = heavyTTL(t, semaphore, leases, ttl)
	s := semaphore(ttl)
	t.Logf("%d leases of 1,000, TTL %v", leases, ttl)
	lost := make(chan error, leases)
	var all sync.WaitGroup
	held := make([]*lease.Lease, leases)
	for i := range held {
		held[i] = realAcquire(t, s, lease.Weight(1000))
		all.Go(func() {
			<-held[i].Held().Done()
			lost <- context.Cause(held[i].Held())
		})
	}
	select {
	case loss = <-lost:
	case <-time.After(soakOr(3*ttl, 3*ttl/2)):
	}
	for _, l := range held {
		_ = l.Release()
	}
	all.Wait()
	return loss
}
