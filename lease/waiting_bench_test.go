package lease_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// BenchmarkWaitersCost measures what an acquire costs the server while 1, 100 or 1,000 callers of the process
// wait for one of 1,000 permits, each of which is held for three seconds: the CPU time of the commands that carry
// scripts and releases, and the bytes that the server reads. The cost must not grow with the waiters.
func BenchmarkWaitersCost(b *testing.B) {
	const capacity, hold, warm, measured = 1000, 3 * time.Second, 4 * time.Second, 6 * time.Second
	for _, waiters := range []int{1, 100, 1000} {
		b.Run(fmt.Sprint(waiters), func(b *testing.B) {
			server := redistest.Start(b)
			admin := server.Client(b)
			m, err := lease.Open("redis://"+server.Addr(), lease.Options{Logger: quiet})
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			s := gpu(b, m, lease.Config{Name: "gpu", Capacity: capacity})
			ctx, stop := context.WithCancel(context.Background())
			var leases atomic.Int64
			var callers sync.WaitGroup
			for i := range capacity + waiters {
				callers.Go(func() {
					time.Sleep(hold * time.Duration(i) / capacity % hold) // ends spread over a hold
					for {
						l, err := s.Acquire(ctx)
						if err != nil {
							return
						}
						leases.Add(1)
						select {
						case <-time.After(hold):
						case <-ctx.Done():
						}
						_ = l.Release()
					}
				})
			}
			time.Sleep(warm)
			b.ResetTimer()
			used, read, n := serverTime(b, admin), infoOf(b, admin, "stats", "total_net_input_bytes"), leases.Load()
			for range b.N {
				time.Sleep(measured)
			}
			used, read, n = serverTime(b, admin)-used, infoOf(b, admin, "stats", "total_net_input_bytes")-read, leases.Load()-n
			b.StopTimer()
			stop()
			callers.Wait()
			b.ReportMetric(float64(used)/float64(n), "server-µs/acquire")
			b.ReportMetric(float64(read)/float64(n), "server-B/acquire")
			b.ReportMetric(float64(n)/float64(b.N)/measured.Seconds(), "acquires/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkWaitsThatEnd measures the CPU time that 1,000 callers cost this process whose MaxWait ends, spread over four
// seconds, while nothing is free: the first when Redis has answered. For each of them, from its call to its error, its
// share of the polls included.
func BenchmarkWaitsThatEnd(b *testing.B) {
	const callers, spread = 1000, 4 * time.Second
	server := redistest.Start(b)
	m, err := lease.Open("redis://"+server.Addr(), lease.Options{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	s := gpu(b, m, lease.Config{Name: "gpu", Capacity: 1})
	l, err := s.Acquire(context.Background())
	if err != nil {
		b.Fatal(err)
	}
	used := cpu()
	b.ResetTimer()
	for range b.N {
		var waiting sync.WaitGroup
		for i := range callers {
			waiting.Go(func() {
				if _, err := s.Acquire(context.Background(), lease.MaxWait(100*time.Millisecond+spread*time.Duration(i)/callers)); !errors.Is(err, lease.ErrAtCapacity) {
					b.Errorf("got %v", err)
				}
			})
		}
		waiting.Wait()
	}
	used = cpu() - used
	b.StopTimer()
	if err := l.Release(); err != nil {
		b.Error(err)
	}
	b.ReportMetric(float64(used.Microseconds())/float64(b.N*callers), "cpu-µs/end")
	b.ReportMetric(0, "ns/op")
}
