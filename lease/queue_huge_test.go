package lease_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// No script loops or unpacks without bound, however long the queue and however heavy the requests.

// enqueue fills the queue: n waiters of some weight, each second one of a process that is dead.
func enqueue(t *testing.T, admin *redis.Client, n, weight int) {
	t.Helper()
	ctx := context.Background()
	mark := ""
	if weight > 1 {
		mark = fmt.Sprintf("#%d", weight)
	}
	now := time.Now()
	var waiters []redis.Z
	for i := range n {
		waiters = append(waiters, redis.Z{Member: fmt.Sprintf("%036d@p/%d~1%s", i, i%2000, mark), Score: float64(now.UnixMicro() + int64(i))})
	}
	for part := range slices.Chunk(waiters, 1000) {
		if err := admin.ZAdd(ctx, queueKey, part...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	var alive []redis.Z
	for i := range 2000 {
		until := now.Add(10 * time.Minute)
		if i%2 == 0 {
			until = now.Add(-time.Minute)
		}
		alive = append(alive, redis.Z{Member: fmt.Sprintf("p/%d~1", i), Score: float64(until.UnixMilli())})
	}
	if err := admin.ZAdd(ctx, "{passbuddy-gpu}:alive", alive...).Err(); err != nil {
		t.Fatal(err)
	}
}

func TestRealRedisNoScriptIsLongInAHugeQueue(t *testing.T) {
	alone(t)
	server := redistest.Start(t, "--slowlog-log-slower-than", "100", "--slowlog-max-len", "100000")
	admin := server.Client(t)
	ctx := context.Background()
	const limit = 200 * time.Millisecond // where 5 are usual
	judge := func(what string, work func()) (scripts int64) {
		t.Helper()
		longest(t, admin)
		scripts = calls(t, admin, "evalsha")
		executed := commands(t, admin)
		inScripts, busy := statOf(t, admin, "evalsha", "usec"), processorTime(t, admin)
		start := time.Now()
		work()
		took := time.Since(start)
		scripts, executed = calls(t, admin, "evalsha")-scripts, commands(t, admin)-executed
		most, name := longest(t, admin)
		t.Logf("%-62s %7v: %4d scripts, %6d commands, longest script %v, server %v", what, took.Round(time.Millisecond), scripts, executed, most, processorTime(t, admin)-busy)
		// A machine that is busy stops the server in the middle of its scripts.
		inScripts, busy = statOf(t, admin, "evalsha", "usec")-inScripts, processorTime(t, admin)-busy
		starved := max(1, float64(inScripts)/float64(busy.Microseconds()+1))
		if most > time.Duration(starved*float64(limit)) {
			t.Errorf("%s: a script (%s) took %v, where scripts lasted %.1f times the server's processor time", what, name, most, starved)
		}
		return scripts
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	m, _ := openWith(t, "redis://"+server.Addr())
	other, _ := openWith(t, "redis://"+server.Addr())
	cfg := lease.Config{Capacity: 1, TTL: time.Minute, RetryInterval: 100 * time.Millisecond} // nothing expires while it is counted
	s, operator := gpu(t, m, cfg), gpu(t, other, cfg)

	must(realAcquire(t, operator).Release()) // so that the scripts are loaded
	const n = 100_000
	holder := realAcquire(t, s)
	enqueue(t, admin, n, 1)
	judge("100,000 wait, half of them dead: one more, and its polls", func() {
		waiting := asking(t, operator)
		polls := calls(t, admin, "evalsha")
		redistest.Eventually(t, "it polls", func(context.Context) error {
			if got := calls(t, admin, "evalsha"); got < polls+6 {
				return fmt.Errorf("%d scripts", got-polls)
			}
			return nil
		})
		mustStillWait(t, "the last", waiting)
	})
	judge("TryAcquire", func() {
		for range 10 {
			if l, err := operator.TryAcquire(ctx); err == nil {
				t.Errorf("%s overtook 100,000", l.ID())
			}
		}
	})
	judge("Inspect", func() {
		state, err := operator.Inspect(ctx)
		must(err)
		// Sweeps have found some of the dead.
		if len(state.Waiters) < n*8/10 || len(state.Waiters) > n+1 {
			t.Errorf("%d wait", len(state.Waiters))
		}
	})
	judge("the holder releases", func() { must(holder.Release()) })
	if scripts := judge("a resize to 100,000", func() { must(operator.Resize(ctx, n)) }); scripts < n/700 {
		t.Errorf("a queue of 100,000 was worked off by %d scripts, each of them long", scripts)
	}
	held := admin.ZCard(ctx, "passbuddy-gpu").Val()
	if held < n/2 || held > n/2+1 {
		t.Errorf("%d hold it, %d live ones waited", held, n/2+1)
	}
	if left := admin.ZCard(ctx, queueKey).Val(); left != 0 {
		t.Errorf("%d still wait", left)
	}

	admin.FlushDB(ctx)
	heavy := lease.Config{Capacity: 1000, TTL: realTTL}
	judge("a lease on 1,000 permits: acquired, renewed, released", func() {
		// The other manager's waiter got its permit above and may hold it still: another name.
		heavy.Name = "heavy"
		s, err := m.Semaphore(heavy)
		must(err)
		l, err := s.Acquire(ctx, lease.Weight(1000))
		must(err)
		renewals := calls(t, admin, "zadd")
		redistest.Eventually(t, "it is renewed", func(context.Context) error {
			if calls(t, admin, "zadd") == renewals {
				return fmt.Errorf("no renewal")
			}
			return nil
		})
		must(l.Err())
		must(l.Release())
	})

	admin.FlushDB(ctx)
	enqueue(t, admin, 400, 1000)
	scripts := judge("400 who want 1,000 permits each, half of them dead: a resize", func() { must(operator.Resize(ctx, 1_000_000)) })
	if scripts < 200 {
		t.Errorf("200,000 permits were given by %d scripts, each of them long", scripts)
	}
	if held := admin.ZCard(ctx, "passbuddy-gpu").Val(); held < 200_000 || held > 200_001 {
		t.Errorf("%d permits are held, want 200,000", held)
	}
}
