package lease_test

import (
	"context"
	"flag"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

var trials = flag.Int("trials", 25, "how often each fault is tried on a real Redis")

// A trial is one lease, of its own manager, through its own proxy.
type trial struct {
	lease *lease.Lease
	proxy *redistest.Proxy
	close func()
}

// inGroups has n leases held, atOnce at a time on one server, each acquired in another phase, and calls
// test with each group.
func inGroups(t *testing.T, n int, open func(testing.TB, string) (*lease.Manager, func()), test func(*redistest.Server, []*trial)) {
	server := redistest.Start(t)
	for left := n; left > 0; left -= atOnce {
		group := make([]*trial, min(atOnce, left))
		var all sync.WaitGroup
		for i := range group {
			x := &trial{proxy: redistest.NewProxy(t, server.Addr())}
			m, end := open(t, x.proxy.Addr())
			x.close = end
			s, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: atOnce, TTL: realTTL})
			if err != nil {
				t.Fatal(err)
			}
			group[i] = x
			all.Go(func() {
				time.Sleep(time.Duration(rand.Int64N(int64(realTTL)))) // any phase between two renewals
				if x.lease, err = s.Acquire(context.Background()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if t.Failed() {
			return
		}
		test(server, group)
		server.Client(t).FlushAll(context.Background())
		for _, x := range group {
			x.proxy.Heal()
			all.Go(x.close) // a client of the defaults may take its time
		}
		all.Wait()
	}
}
