package lease_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/semaphore"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// Each benchmark of the queue stands beside its baseline in the same run, and takes turns with it, so that
// what else the machine does meets both.

// BenchmarkHandOver measures the time from the call of Release in one process to the other process holding
// the permit; the baseline is a token that is pushed onto a list, and taken with BLPOP. Idle: both processes
// and the server sleep before each. Hot: none of them does. Busy: two more processes of four callers each keep
// the server busy with another semaphore.
func BenchmarkHandOver(b *testing.B) {
	for _, load := range []string{"idle", "hot", "busy"} {
		b.Run(load, func(b *testing.B) {
			server := redistest.Start(b)
			url := "redis://" + server.Addr()
			judge := newJudge(b)
			cfg := lease.Config{Name: "gpu", Capacity: 1}
			other := startFleet(b, 1, judge, url, cfg)[0]
			m, err := lease.Open(url, lease.Options{Logger: quiet})
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			s := gpu(b, m, cfg)
			client, ctx := m.Client(), context.Background()
			if load == "busy" {
				for _, p := range startFleet(b, 2, judge, url, lease.Config{Name: "crowd", Capacity: 4}) {
					working := p.send(order{Do: "work", Callers: 4, Section: time.Millisecond})
					defer func() { p.must(order{Do: "stop"}); p.await(working) }()
				}
			}
			queued := func() bool { return client.ZCard(ctx, queueKey).Val() == 1 }
			waitUntil := func(waits func() bool) {
				for !waits() {
					time.Sleep(100 * time.Microsecond)
				}
				if load == "idle" {
					time.Sleep(5 * time.Millisecond)
				}
			}
			must := func(err error) {
				if err != nil {
					b.Fatal(err)
				}
			}
			var leases, lists []int64
			mine := realAcquire(b, s)
			b.ResetTimer()
			for range b.N {
				// There and back: each waits while the other holds.
				theirs := other.send(order{Do: "hold", Key: "x"})
				waitUntil(queued)
				start := time.Now().UnixNano()
				must(mine.Release())
				leases = append(leases, other.await(theirs).At-start)

				back := asking(b, s)
				waitUntil(queued)
				start = other.must(order{Do: "release", Key: "x"}).At
				g := mustBeServed(b, "the benchmark", back)
				leases, mine = append(leases, g.at.UnixNano()-start), g.lease

				popped := other.send(order{Do: "pop"})
				waitUntil(func() bool { return blocked(ctx, client) == 1 })
				start = time.Now().UnixNano()
				must(client.LPush(ctx, "tokens", "x").Err())
				lists = append(lists, other.await(popped).At-start)
			}
			must(mine.Release())
			b.StopTimer()
			compare(b, "lease", leases, "blpop", lists)
		})
	}
}

// compare reports the medians of two ways, and their ratio.
func compare(b *testing.B, one string, of []int64, baseline string, and []int64) {
	slices.Sort(of)
	slices.Sort(and)
	b.ReportMetric(float64(of[len(of)/2])/1000, "µs/"+one)
	b.ReportMetric(float64(and[len(and)/2])/1000, "µs/"+baseline)
	b.ReportMetric(float64(of[len(of)/2])/float64(and[len(and)/2]), "ratio")
	b.ReportMetric(0, "ns/op")
}

// blocked is how many clients wait in a blocking command.
func blocked(ctx context.Context, client redis.UniversalClient) int {
	info, _ := client.Info(ctx, "clients").Result()
	var n int
	for line := range strings.Lines(info) {
		_, _ = fmt.Sscanf(line, "blocked_clients:%d", &n)
	}
	return n
}

// BenchmarkContended has 64 callers of one process share one permit. The baseline of an empty section is a
// token on a list of Redis, that of 1 ms a semaphore in memory: the most that any can reach.
func BenchmarkContended(b *testing.B) {
	server := redistest.Start(b)
	client := server.Client(b)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	local := semaphore.NewWeighted(1)
	client.LPush(ctx, "tokens", "x")
	wide := redis.NewClient(&redis.Options{Addr: server.Addr(), PoolSize: 100})
	defer wide.Close()
	m, err := lease.Open("redis://"+server.Addr(), lease.Options{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	defer m.Close()
	s, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 1})
	if err != nil {
		b.Fatal(err)
	}
	ways := map[string]func(work func()) error{
		"lease": func(work func()) error {
			l, err := s.Acquire(ctx)
			if err != nil {
				return err
			}
			work()
			return l.Release()
		},
		"blpop": func(work func()) error {
			if err := wide.BLPop(ctx, time.Minute, "tokens").Err(); err != nil {
				return err
			}
			work()
			return wide.LPush(ctx, "tokens", "x").Err()
		},
		"local": func(work func()) error {
			if err := local.Acquire(ctx, 1); err != nil {
				return err
			}
			work()
			local.Release(1)
			return nil
		},
	}
	const callers = 64
	// rate is how many a second one way makes in a while.
	rate := func(way string, work func(), while time.Duration) float64 {
		var n atomic.Int64
		var all sync.WaitGroup
		start := time.Now()
		for range callers {
			all.Go(func() {
				for time.Since(start) < while {
					if err := ways[way](work); err != nil {
						b.Error(err)
						return
					}
					n.Add(1)
				}
			})
		}
		all.Wait()
		return float64(n.Load()) / time.Since(start).Seconds()
	}
	for _, bc := range []struct {
		name, baseline string
		work           func()
	}{
		{"empty", "blpop", func() {}},
		{"1ms", "local", func() { time.Sleep(time.Millisecond) }},
	} {
		b.Run(bc.name, func(b *testing.B) {
			sum := map[string]float64{}
			const rounds = 4
			for range b.N {
				for range rounds {
					for _, way := range []string{"lease", bc.baseline} {
						sum[way] += rate(way, bc.work, 500*time.Millisecond)
					}
				}
			}
			n := float64(rounds * b.N)
			b.ReportMetric(sum["lease"]/n, "leases/s")
			b.ReportMetric(sum[bc.baseline]/n, bc.baseline+"/s")
			b.ReportMetric(sum["lease"]/sum[bc.baseline], "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkIdleWaiters has 1,000 callers in four processes wait for one permit that is held, for b.N times
// five seconds. Its baseline are the polls: one script for each process, RetryInterval apart or a little less.
func BenchmarkIdleWaiters(b *testing.B) {
	server := redistest.Start(b)
	admin := server.Client(b)
	ctx := context.Background()
	const processes, callers = 4, 250
	// A holder that is not renewed: what is counted is the waiters' doing.
	admin.ZAdd(ctx, "passbuddy-gpu", redis.Z{Member: "holder", Score: float64(time.Now().Add(time.Hour).UnixMilli())})
	var waiting []<-chan report
	fleet := startFleet(b, processes, newJudge(b), "redis://"+server.Addr(), lease.Config{Name: "gpu", Capacity: 1})
	for _, p := range fleet {
		waiting = append(waiting, p.send(order{Do: "work", Callers: callers, Each: 1}))
	}
	mustQueue(b, admin, queueKey, 2*processes)
	mustHaveInboxes(b, admin, processes)
	b.ResetTimer()
	start := time.Now()
	all, polls := commands(b, admin), calls(b, admin, "evalsha")
	inside := commandsOf(b, admin, insidePolls)
	for range b.N {
		time.Sleep(5 * time.Second)
	}
	all, polls = commands(b, admin)-all, calls(b, admin, "evalsha")-polls
	inside = commandsOf(b, admin, insidePolls) - inside
	each := time.Since(start).Seconds() * processes
	b.StopTimer()
	b.ReportMetric(float64(polls)/each, "polls/s/process")
	b.ReportMetric(float64(inside)/float64(polls), "commands/poll")
	b.ReportMetric(float64(all-polls-inside)/each, "others/s/process")
	b.ReportMetric(0, "ns/op")
	admin.ZRem(ctx, "passbuddy-gpu", "holder")
	for i, w := range waiting {
		if a := fleet[i].await(w); a.Err != "" {
			b.Error(a.Err)
		}
	}
}

// insidePolls are the commands that acquire.lua runs.
var insidePolls = []string{
	"time", "exists", "zcard", "hget", "zmscore", "zadd", "zrange", "zrangebyscore", "zrem", "zremrangebyscore", "pttl",
	"pexpire", "zscore", "zrandmember",
}

func commandsOf(b *testing.B, client *redis.Client, names []string) (n int64) {
	for _, name := range names {
		n += calls(b, client, name)
	}
	return n
}
