package lease_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// plainAcquire is the baseline: what a careful hand would write with go-redis, one script that purges,
// counts and adds, and a ZREM to give back. No renewal, no token, no trust window, no batching.
var plainAcquire = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[3])
return 1
`)

func plainPair(ctx context.Context, c *redis.Client, key, id string, capacity int) error {
	if n, err := plainAcquire.Run(ctx, c, []string{key}, 15000, capacity, id).Int(); err != nil || n != 1 {
		return fmt.Errorf("plain acquire: %d, %w", n, err)
	}
	return c.ZRem(ctx, key, id).Err()
}

// openedClient is a client as Open makes it.
func openedClient(b *testing.B, server *redistest.Server) *redis.Client {
	m, err := lease.Open("redis://"+server.Addr(), lease.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = m.Close() })
	return m.Client().(*redis.Client)
}

// callers runs b.N operations in n goroutines.
func callers(b *testing.B, n int, op func(caller int) error) {
	var left atomic.Int64
	left.Store(int64(b.N))
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := op(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkAcquireRelease(b *testing.B) {
	client := openedClient(b, redistest.Start(b))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	onTheWire := func() int64 { // bytes that the server has read and written
		return infoOf(b, client, "stats", "total_net_input_bytes") + infoOf(b, client, "stats", "total_net_output_bytes")
	}
	measured := func(b *testing.B, n int, op func(caller int) error) {
		question, before := onTheWire(), onTheWire()
		question = before - question // what it costs to ask
		b.ReportAllocs()
		b.ResetTimer()
		callers(b, n, op)
		b.StopTimer()
		b.ReportMetric(float64(onTheWire()-before-question)/float64(b.N), "wire-B/op")
	}
	for _, n := range []int{1, 16, 256} {
		b.Run(fmt.Sprintf("plain/callers=%d", n), func(b *testing.B) {
			measured(b, n, func(i int) error {
				return plainPair(ctx, client, fmt.Sprintf("plain-%d", i), fmt.Sprintf("id-%d", i), 1)
			})
		})
		pair := func(ctx context.Context, sems []*lease.Semaphore) func(int) error {
			return func(i int) error {
				l, err := sems[i%len(sems)].Acquire(ctx)
				if err != nil {
					return err
				}
				return l.Release()
			}
		}
		run := func(name string, ctx context.Context, names, capacity int) {
			b.Run(fmt.Sprintf("%s/callers=%d", name, n), func(b *testing.B) {
				m, err := lease.New(client, lease.Options{Logger: quiet})
				if err != nil {
					b.Fatal(err)
				}
				defer m.Close()
				sems := make([]*lease.Semaphore, names)
				for i := range sems {
					if sems[i], err = m.Semaphore(lease.Config{Name: fmt.Sprintf("bench-%d", i), Capacity: capacity}); err != nil {
						b.Fatal(err)
					}
				}
				measured(b, n, pair(ctx, sems))
			})
		}
		run("lease", ctx, n, 1)
		run("lease-background", context.Background(), n, 1)
		run("lease-one-name", ctx, 1, 1000)
	}
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

// BenchmarkRenewal holds leases that are renewed every second, for b.N seconds.
func BenchmarkRenewal(b *testing.B) {
	server := redistest.Start(b)
	client := server.Client(b)
	ctx := context.Background()
	for _, bc := range []struct {
		name          string
		names, leases int
	}{{"one-name", 1, 1000}, {"one-name", 1, 10000}, {"own-names", 10000, 1}} {
		b.Run(fmt.Sprintf("%s/leases=%d", bc.name, bc.names*bc.leases), func(b *testing.B) {
			m, err := lease.New(client, lease.Options{Logger: quiet})
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			n := bc.names * bc.leases
			goroutines, bytes := runtime.NumGoroutine(), heap()
			leases := make([]*lease.Lease, n)
			sems := make([]*lease.Semaphore, bc.names)
			for i := range sems {
				sems[i], err = m.Semaphore(lease.Config{
					Name: fmt.Sprintf("renew-%d", i), Capacity: bc.leases,
					TTL: 3300 * time.Millisecond, Margin: 165 * time.Millisecond,
				})
				if err != nil {
					b.Fatal(err)
				}
			}
			var wg sync.WaitGroup
			for w := range 250 {
				wg.Go(func() {
					for i := w; i < n; i += 250 {
						l, err := sems[i%bc.names].Acquire(ctx)
						if leases[i] = l; err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			if b.Failed() {
				return
			}
			each := float64(heap()-bytes)/float64(n) - 8
			before := commands(b, client)
			b.ResetTimer()
			start, used := time.Now(), cpu()
			peak := 0
			for range b.N {
				time.Sleep(time.Second)
				peak = max(peak, runtime.NumGoroutine())
			}
			elapsed := time.Since(start)
			b.ReportMetric(float64(cpu()-used)/float64(elapsed)*100, "%core")
			b.ReportMetric(float64(commands(b, client)-before)/(float64(n)*elapsed.Seconds()), "commands/renewal")
			b.ReportMetric(each, "B/lease")
			b.ReportMetric(float64(peak-goroutines), "goroutines")
			b.StopTimer()
			for _, l := range leases {
				if !l.Valid() {
					b.Fatal(l.Err())
				}
			}
			runtime.KeepAlive(leases)
		})
	}
}
