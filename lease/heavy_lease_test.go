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

// holdHeavy holds that many leases for three TTLs, or half of that, and returns why the first of them was lost.
func holdHeavy(t *testing.T, leases int, ttl time.Duration) (loss error) {
	t.Helper()
	m, err := lease.New(redistest.Start(t).Client(t), lease.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 1000 * leases, TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
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
