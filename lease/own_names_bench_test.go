package lease_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// BenchmarkLinger is an acquire and a release by callers on names of their own, whose permits linger.
func BenchmarkLinger(b *testing.B) {
	server := redistest.Start(b)
	for _, callers := range []int{1, 16, 256} {
		b.Run(fmt.Sprint(callers), func(b *testing.B) {
			pairsOnOwnNames(b, server, callers, lease.Config{Linger: 20 * time.Millisecond})
		})
	}
}

// BenchmarkMinReplicas is the same beside a replica, whose acknowledgement a grant waits for or not.
func BenchmarkMinReplicas(b *testing.B) {
	server, _ := withReplica(b)
	for _, callers := range []int{1, 16, 256} {
		for _, n := range []int{0, 1} {
			b.Run(fmt.Sprintf("%d/MinReplicas=%d", callers, n), func(b *testing.B) {
				pairsOnOwnNames(b, server, callers, lease.Config{MinReplicas: n})
			})
		}
	}
}

func pairsOnOwnNames(b *testing.B, server *redistest.Server, callers int, cfg lease.Config) {
	m, err := lease.Open("redis://"+server.Addr(), lease.Options{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	var sems []*lease.Semaphore
	for i := range callers {
		cfg.Name, cfg.Capacity = fmt.Sprint("own", i), 1
		s, err := m.Semaphore(cfg)
		if err != nil {
			b.Fatal(err)
		}
		sems = append(sems, s)
	}
	ctx := context.Background()
	admin := server.Client(b)
	before := commands(b, admin)
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for i, s := range sems {
		pairs := b.N / callers
		if i < b.N%callers {
			pairs++
		}
		all.Go(func() {
			for range pairs {
				l, err := s.Acquire(ctx)
				if err != nil {
					b.Error(err)
					return
				}
				_ = l.Release()
			}
		})
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(commands(b, admin)-before)/float64(b.N), "commands/op")
}
