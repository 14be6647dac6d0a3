package lease_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// These tests use real servers and real time: what they wait for is a server's expiry.

var trials = flag.Int("trials", 25, "how often each fault is tried on a real Redis")

// inRealTime marks a test that waits for servers and expiries: it runs beside others of its kind, and not under -short.
func inRealTime(t *testing.T) {
	t.Helper()
	alone(t)
	t.Parallel()
}

// alone marks a test that keeps the processors busy, or judges what takes its turn on them: it runs beside no other,
// and not under -short.
func alone(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it takes seconds on a real server")
	}
}

const (
	realTTL   = 2 * time.Second
	atOnce    = 25 // trials at a time
	realShort = realTTL/3 - 60*time.Millisecond
)

// clients are the two ways to a manager: a client of go-redis's defaults, and Open.
var clients = map[string]func(testing.TB, string) (m *lease.Manager, end func()){
	"defaults": func(t testing.TB, addr string) (*lease.Manager, func()) {
		c := redis.NewClient(&redis.Options{Addr: addr})
		m, err := lease.New(c, lease.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		return m, func() { _ = c.Close(); _ = m.Close() }
	},
	"open": func(t testing.TB, addr string) (*lease.Manager, func()) {
		m, err := lease.Open("redis://"+addr, lease.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		return m, func() { _ = m.Close() }
	},
}

// opened is a manager that is closed by the test's end.
func opened(t testing.TB, client, addr string) *lease.Manager {
	m, end := clients[client](t, addr)
	t.Cleanup(end)
	return m
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

func realSemaphore(t testing.TB, m *lease.Manager, capacity int) *lease.Semaphore {
	s, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: capacity, TTL: realTTL})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func realAcquire(t testing.TB, s *lease.Semaphore, opts ...lease.AcquireOption) *lease.Lease {
	t.Helper()
	l, err := s.Acquire(context.Background(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// soakOr returns how long a test lasts: long where PASSBUDDY_SOAK is set, as in CI.
func soakOr(long, short time.Duration) time.Duration {
	if os.Getenv("PASSBUDDY_SOAK") != "" {
		return long
	}
	return short
}

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

func TestRealRedisTellsInTime(t *testing.T) {
	alone(t)
	for client, open := range clients {
		for _, fault := range []string{"the server is stopped", "the connection swallows everything"} {
			t.Run(fault+"/"+client, func(t *testing.T) {
				var late []time.Duration
				inGroups(t, *trials, open, func(server *redistest.Server, group []*trial) {
					late = append(late, strikeForGood(t, fault, server, group)...)
				})
				if t.Failed() {
					return
				}
				slices.Sort(late)
				t.Logf("%d trials: told after the window's end: p50 %v, p99 %v, max %v; the margin is %v",
					len(late), late[len(late)/2], late[len(late)*99/100], late[len(late)-1], realTTL/20)
			})
		}
	}
}

// strikeForGood reports how long after the ends of their windows the holders were told.
func strikeForGood(t *testing.T, fault string, server *redistest.Server, group []*trial) []time.Duration {
	told := make([]chan time.Time, len(group))
	for i, x := range group {
		child, cancel := context.WithCancel(x.lease.Context())
		defer cancel()
		told[i] = make(chan time.Time, 1)
		go func() { <-child.Done(); told[i] <- time.Now() }()
	}
	expiries, err := server.Client(t).ZRangeWithScores(context.Background(), "passbuddy-gpu", 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	if fault == "the server is stopped" {
		server.Pause()
		defer server.Resume()
	}
	for _, x := range group {
		x.proxy.Swallow()
	}
	var late []time.Duration
	for i, x := range group {
		at, end := <-told[i], x.lease.TrustedUntil()
		var expiry time.Time
		for _, z := range expiries {
			if z.Member == x.lease.ID() {
				expiry = time.UnixMilli(int64(z.Score))
			}
		}
		// A renewal may have come between reading the expiry and the fault.
		if atLeast := end.Add(realTTL / 20); expiry.Before(atLeast) {
			expiry = atLeast
		}
		if !at.Before(expiry) {
			t.Errorf("told %v after the permit's expiry in Redis", at.Sub(expiry))
		}
		if !errors.Is(x.lease.Err(), lease.ErrLost) {
			t.Errorf("Err = %v", x.lease.Err())
		}
		late = append(late, at.Sub(end))
	}
	return late
}

func TestRealRedisCostsNoLeaseWhenTroubleIsShort(t *testing.T) {
	alone(t)
	for client, open := range clients {
		t.Run(client, func(t *testing.T) {
			inGroups(t, *trials, open, func(server *redistest.Server, group []*trial) {
				admin := server.Client(t)
				server.Pause()
				time.Sleep(realShort)
				server.Resume()
				time.Sleep(realTTL)
				admin.ScriptFlush(context.Background())
				for i, x := range group {
					[]func(){x.proxy.Swallow, x.proxy.SwallowReplies, x.proxy.Refuse, x.proxy.Cut, func() { x.proxy.CutAfterRequest(3) }}[i%5]()
				}
				time.Sleep(realShort)
				for _, x := range group {
					x.proxy.Heal()
				}
				time.Sleep(realTTL)
				for i, x := range group {
					if err := x.lease.Err(); err != nil {
						t.Errorf("trial %d: %v", i, err)
					}
					if err := x.lease.Release(); err != nil {
						t.Errorf("trial %d: Release: %v", i, err)
					}
				}
			})
		})
	}
}

// A process that is killed with a permit: the test binary, run again.
func TestRealRedisTakesAKilledHoldersPermitOver(t *testing.T) {
	if addr := os.Getenv("PASSBUDDY_TEST_HOLDER"); addr != "" {
		l := realAcquire(t, realSemaphore(t, opened(t, "open", addr), 1))
		fmt.Println("holding", l.ID())
		<-l.Context().Done()
		return
	}
	alone(t)
	server := redistest.Start(t)
	holder := exec.Command(os.Args[0], "-test.run=^TestRealRedisTakesAKilledHoldersPermitOver$")
	holder.Env = append(os.Environ(), "PASSBUDDY_TEST_HOLDER="+server.Addr())
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Process.Kill(); _ = holder.Wait() }()
	var id string
	for lines := bufio.NewScanner(out); id == "" && lines.Scan(); {
		_, id, _ = strings.Cut(lines.Text(), "holding ")
	}
	if id == "" {
		t.Fatal("the holder did not get its permit")
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	expiry := time.UnixMilli(int64(server.Client(t).ZScore(context.Background(), "passbuddy-gpu", id).Val()))
	s := realSemaphore(t, opened(t, "open", server.Addr()), 1)
	l := realAcquire(t, s)
	at := time.Now()
	if at.Before(expiry) || at.After(expiry.Add(s.Config().RetryInterval)) {
		t.Errorf("taken over %v after its expiry, want 0 to %v", at.Sub(expiry), s.Config().RetryInterval)
	}
	t.Logf("taken over %v after its expiry", at.Sub(expiry))
	_ = l.Release()
}

func TestRealRedisKeepsTheCapacity(t *testing.T) {
	server := redistest.Start(t)
	var live, most atomic.Int64
	var callers sync.WaitGroup
	for range 3 {
		s := realSemaphore(t, opened(t, "open", server.Addr()), 3)
		for range 8 {
			callers.Go(func() {
				for range 25 {
					err := s.Do(context.Background(), func(context.Context) error {
						n := live.Add(1)
						for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
						}
						live.Add(-1)
						return nil
					}, lease.MaxHold(time.Minute))
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	callers.Wait()
	if most.Load() > 3 {
		t.Errorf("%d at a time, capacity 3", most.Load())
	}
	if n := server.Client(t).Exists(context.Background(), "passbuddy-gpu").Val(); n != 0 {
		t.Error("permits are left over")
	}
}

func TestRealRedisErrorsSayWhatToDo(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	admin := server.Client(t)
	ctx := context.Background()
	as := func(user string) *lease.Manager {
		return opened(t, "open", user+":pw@"+server.Addr())
	}
	allow := func(user string, rules ...any) {
		t.Helper()
		args := append([]any{"ACL", "SETUSER", user, "on", ">pw"}, rules...)
		if err := admin.Do(ctx, args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	keys := []any{"~passbuddy-*", "~{passbuddy-*", "&passbuddy:inbox:*"}

	t.Run("a key of another type", func(t *testing.T) {
		m := opened(t, "open", server.Addr())
		admin.Set(ctx, "passbuddy-taken", "x", 0)
		s, err := m.Semaphore(lease.Config{Name: "taken", Capacity: 1})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Acquire(ctx)
		mustSay(t, err, "WRONGTYPE", "choose another Name")
	})
	t.Run("a command that the user may not run", func(t *testing.T) {
		allow("nozadd", append(keys, "+@all", "-zadd")...)
		m := as("nozadd")
		_, err := realSemaphore(t, m, 1).Acquire(ctx)
		mustSay(t, err, "ZADD", "lacks a permission")
		mustSay(t, m.Ping(ctx), "ZADD", "lacks a permission")
	})
	t.Run("just the permissions that are needed", func(t *testing.T) {
		allow("just", append(keys, "-@all", "+evalsha", "+eval", "+time", "+exists", "+get", "+set", "+pttl", "+pexpire",
			"+zadd", "+zcard", "+zscore", "+zmscore", "+zrange", "+zrangebyscore", "+zrandmember", "+zrem", "+zremrangebyscore",
			"+hget", "+hset", "+hdel", "+publish", "+subscribe", "+hello", "+ping", "+client")...)
		m := as("just")
		if err := m.Ping(ctx); err != nil {
			t.Fatal(err)
		}
		l := realAcquire(t, realSemaphore(t, m, 1))
		time.Sleep(realTTL)
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	})
	t.Run("an old Redis", func(t *testing.T) {
		old := redistest.Start(t, "--rename-command", "ZADD", "")
		_, err := realSemaphore(t, opened(t, "open", old.Addr()), 1).Acquire(ctx)
		mustSay(t, err, "Redis 6.2 or newer is needed")
	})
	t.Run("nobody there", func(t *testing.T) {
		proxy := redistest.NewProxy(t, server.Addr())
		proxy.Refuse()
		for name := range clients {
			s, err := opened(t, name, proxy.Addr()).Semaphore(lease.Config{Name: "gpu", Capacity: 1})
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Acquire(ctx) // of the TTL by default, which leaves a client its own retries
			var trouble *lease.RedisError
			if !errors.As(err, &trouble) || trouble.Op != "acquire" {
				t.Errorf("%s: %v", name, err)
			}
			mustSay(t, err, "connection refused")
		}
	})
	t.Run("a policy that evicts", func(t *testing.T) {
		evicting := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
		var log logBuffer
		m, err := lease.Open("redis://"+evicting.Addr(), lease.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if err := m.Ping(ctx); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), "allkeys-lru") || !strings.Contains(log.String(), "noeviction") {
			t.Errorf("logged %q", log.String())
		}
	})
	t.Run("after Close", func(t *testing.T) {
		m := opened(t, "open", server.Addr())
		s := realSemaphore(t, m, 1)
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := s.Acquire(ctx)
		if !errors.Is(err, lease.ErrClosed) || !errors.Is(m.Ping(ctx), lease.ErrClosed) {
			t.Errorf("Acquire returned %v", err)
		}
	})
	t.Run("two Configs for one living name", func(t *testing.T) {
		m := opened(t, "open", server.Addr())
		s1, err := m.Semaphore(lease.Config{Name: "two", Capacity: 1})
		if err != nil {
			t.Fatal(err)
		}
		s2, err := m.Semaphore(lease.Config{Name: "two", Capacity: 2})
		if err != nil {
			t.Fatal(err) // nobody holds or waits yet
		}
		l := realAcquire(t, s1)
		_, err = s2.Acquire(ctx)
		mustRefuse(t, err, "Config.Capacity", "2")
		_, err = m.Semaphore(lease.Config{Name: "two", Capacity: 1, TTL: time.Minute})
		mustRefuse(t, err, "Config.TTL", "1m")
		if err := l.Release(); err != nil {
			t.Fatal(err)
		}
		if err := realAcquire(t, s2).Release(); err != nil {
			t.Error(err)
		}
	})
}

func mustSay(t *testing.T, err error, parts ...string) {
	t.Helper()
	var trouble *lease.RedisError
	if !errors.As(err, &trouble) {
		t.Fatalf("%v, want a *RedisError", err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not say %q", err, p)
		}
	}
}
