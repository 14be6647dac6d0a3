package lease_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// What breaks around a real server: each was met by somebody.

// The client gives up while the server is held up, and the server takes the permit later. It goes back.
func TestRealRedisAPermitThatCameAfterTheClientsTimeoutGoesBack(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	admin, ctx := server.Client(t), context.Background()
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), ReadTimeout: 30 * time.Millisecond, MaxRetries: -1})
	defer client.Close()
	m, err := lease.New(client, lease.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s := gpu(t, m, lease.Config{TTL: time.Minute})
	got, failed := 0, 0
	for range 10 {
		server.Pause()
		resumed := make(chan struct{})
		time.AfterFunc(200*time.Millisecond, func() { server.Resume(); close(resumed) })
		l, err := s.TryAcquire(ctx)
		<-resumed
		if trouble := new(lease.RedisError); err != nil && !errors.As(err, &trouble) {
			t.Fatal(err)
		}
		if err != nil {
			failed++
			continue
		}
		got++
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	}
	if failed == 0 {
		t.Errorf("%d acquired, none failed: nobody gave up early", got)
	}
	mustBecomeClean(t, admin)
}

// For a moment that is shorter than a third of the TTL. Who asks meanwhile is told why, and what to do.
func TestRealRedisThatRefusesToWriteForAMomentCostsNoLease(t *testing.T) {
	inRealTime(t)
	for name, tc := range map[string]struct {
		begin, end func(context.Context, *redis.Client) error
		hint       string
	}{
		"MISCONF": {
			begin: func(ctx context.Context, admin *redis.Client) error {
				dir := admin.ConfigGet(ctx, "dir").Val()["dir"]
				if err := os.RemoveAll(dir); err != nil {
					return err
				}
				if err := admin.ConfigSet(ctx, "save", "3600 1").Err(); err != nil {
					return err
				}
				if err := admin.BgSave(ctx).Err(); err != nil {
					return err
				}
				for ctx.Err() == nil && !strings.Contains(admin.Info(ctx, "persistence").Val(), "rdb_last_bgsave_status:err") {
					time.Sleep(time.Millisecond)
				}
				return ctx.Err()
			},
			end: func(ctx context.Context, admin *redis.Client) error {
				return admin.ConfigSet(ctx, "stop-writes-on-bgsave-error", "no").Err()
			},
			hint: "cannot save its data",
		},
		"READONLY": {
			begin: func(ctx context.Context, admin *redis.Client) error {
				return admin.ReplicaOf(ctx, "127.0.0.1", "1").Err()
			},
			end:  func(ctx context.Context, admin *redis.Client) error { return admin.ReplicaOf(ctx, "NO", "ONE").Err() },
			hint: "the server is a replica",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inRealTime(t)
			server := redistest.Start(t)
			admin := server.Client(t)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			m, _ := openWith(t, "redis://"+server.Addr())
			s := gpu(t, m, lease.Config{Capacity: 2, TTL: 6 * time.Second})
			held := realAcquire(t, s)
			for range 3 {
				if err := tc.begin(ctx, admin); err != nil {
					t.Fatal(err)
				}
				begun := time.Now()
				_, err := s.TryAcquire(ctx)
				if trouble := new(lease.RedisError); !errors.As(err, &trouble) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), tc.hint) {
					t.Errorf("an attempt: %v", err)
				}
				time.Sleep(time.Until(begun.Add(1500 * time.Millisecond))) // a renewal comes into it, or nearly
				if err := tc.end(ctx, admin); err != nil {
					t.Fatal(err)
				}
				next, err := s.Acquire(ctx)
				if err != nil {
					t.Fatalf("afterwards: %v", err)
				}
				if err := next.Release(); err != nil {
					t.Error(err)
				}
				if name == "MISCONF" {
					break // the directory is gone
				}
			}
			time.Sleep(3 * time.Second)
			if !held.Valid() {
				t.Errorf("lost: %v", held.Err())
			}
			if err := held.Release(); err != nil {
				t.Error(err)
			}
		})
	}
}

// A crowd are callers of several processes that acquire, work for a millisecond, and release.
type crowd struct {
	t       *testing.T
	callers sync.WaitGroup
	stop    chan struct{}
	served  []atomic.Int64
	live    atomic.Int64
	most    atomic.Int64
	lost    atomic.Int64
}

// gather starts n callers of each semaphore.
func gather(t *testing.T, n int, sems ...*lease.Semaphore) *crowd {
	c := &crowd{t: t, stop: make(chan struct{}), served: make([]atomic.Int64, n*len(sems))}
	for i, s := range sems {
		for j := range n {
			c.callers.Go(func() { c.work(s, &c.served[i*n+j]) })
		}
	}
	return c
}

func (c *crowd) work(s *lease.Semaphore, served *atomic.Int64) {
	for {
		select {
		case <-c.stop:
			return
		default:
		}
		l, err := s.Acquire(context.Background())
		if err != nil {
			c.t.Errorf("an acquire: %v", err)
			return
		}
		live := c.live.Add(1)
		for most := c.most.Load(); live > most && !c.most.CompareAndSwap(most, live); {
			most = c.most.Load()
		}
		time.Sleep(time.Millisecond)
		if l.Context().Err() != nil {
			c.lost.Add(1)
		}
		c.live.Add(-1)
		if err := l.Release(); err != nil && !errors.Is(err, lease.ErrLost) {
			c.t.Errorf("a release: %v", err)
		}
		served.Add(1)
	}
}

// mustGoOn waits until each caller has been served n times more.
func (c *crowd) mustGoOn(n int64) {
	c.t.Helper()
	before := make([]int64, len(c.served))
	for i := range c.served {
		before[i] = c.served[i].Load()
	}
	redistest.Eventually(c.t, "each caller goes on", func(context.Context) error {
		for i := range c.served {
			if got := c.served[i].Load() - before[i]; got < n {
				return fmt.Errorf("caller %d was served %d times", i, got)
			}
		}
		return nil
	})
}

func (c *crowd) goHome() {
	close(c.stop)
	c.callers.Wait()
}

// mustBecomeClean waits until no permit and no waiter is left: what was given up goes back later.
func mustBecomeClean(t *testing.T, admin redis.UniversalClient) {
	t.Helper()
	for _, key := range []string{"passbuddy-gpu", "{passbuddy-gpu}:queue"} {
		redistest.Eventually(t, "nothing is left", func(context.Context) error { return gone(admin, key) })
	}
}

// every has do done again and again, until the function that it returns is called.
func every(d time.Duration, do func()) (end func()) {
	stop, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		tick := time.NewTicker(d)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				do()
			}
		}
	}()
	return func() { close(stop); <-over }
}

func TestRealRedisSubscriptionsThatAreKilledAgainAndAgainHoldUpNobody(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	admin := server.Client(t)
	a, _ := openWith(t, "redis://"+server.Addr())
	b, _ := openWith(t, "redis://"+server.Addr())
	c := gather(t, 4, gpu(t, a, lease.Config{}), gpu(t, b, lease.Config{}))
	c.mustGoOn(1)
	var killed atomic.Int64
	end := every(30*time.Millisecond, func() {
		killed.Add(admin.ClientKillByFilter(context.Background(), "type", "pubsub").Val())
	})
	for range 5 {
		c.mustGoOn(20)
	}
	end()
	c.goHome()
	if killed.Load() == 0 {
		t.Error("nobody was subscribed")
	}
	if c.most.Load() > 1 || c.lost.Load() > 0 {
		t.Errorf("%d at a time, %d lost", c.most.Load(), c.lost.Load())
	}
	mustBecomeClean(t, admin)
}

// Each of the keys is deleted again and again, as by somebody who tidies up. Only the set of the holders is the truth:
// without it leases are lost, and with each of the others everything goes on.
func TestRealRedisKeysThatAreDeletedUnderLoad(t *testing.T) {
	inRealTime(t)
	for _, key := range []string{"passbuddy-gpu", "{passbuddy-gpu}:fence", "{passbuddy-gpu}:queue", "{passbuddy-gpu}:alive", "{passbuddy-gpu}:config", "{passbuddy-gpu}:callers"} {
		t.Run(key, func(t *testing.T) {
			inRealTime(t)
			server := redistest.Start(t)
			admin := server.Client(t)
			a, _ := openWith(t, "redis://"+server.Addr())
			b, _ := openWith(t, "redis://"+server.Addr())
			cfg := lease.Config{Capacity: 2, TTL: 2 * time.Second, RetryInterval: 100 * time.Millisecond}
			c := gather(t, 6, gpu(t, a, cfg), gpu(t, b, cfg))
			c.mustGoOn(1)
			end := every(20*time.Millisecond, func() {
				if strings.HasSuffix(key, ":config") { // which is there only when somebody has said a capacity
					if err := a.Resize(context.Background(), "gpu", 2); err != nil {
						t.Error(err)
					}
				}
				admin.Del(context.Background(), key)
			})
			for range 5 {
				c.mustGoOn(5)
			}
			end()
			c.mustGoOn(5)
			c.goHome()
			if key != "passbuddy-gpu" && (c.most.Load() > 2 || c.lost.Load() > 0) {
				t.Errorf("%d at a time, %d lost", c.most.Load(), c.lost.Load())
			}
			mustBecomeClean(t, admin)
		})
	}
}

func TestRealRedisFiveThousandCallersAtOnceOnTheDefaultPool(t *testing.T) {
	alone(t)
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	m, err := lease.New(client, lease.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s := gpu(t, m, lease.Config{Capacity: 100})
	var callers sync.WaitGroup
	for range 5000 {
		callers.Go(func() {
			if err := s.Do(context.Background(), func(context.Context) error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	callers.Wait()
	if n := client.PoolStats().TotalConns; n > 10 {
		t.Errorf("%d connections", n)
	}
	mustBecomeClean(t, server.Client(t))
}

// The manager shares its client's only connection with somebody who keeps it for half of a window, time after time.
func TestRealRedisAPoolOfOneThatIsBusyForHalfAWindowCostsNoLease(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), PoolSize: 1})
	defer client.Close()
	m, err := lease.New(client, lease.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s := gpu(t, m, lease.Config{TTL: 6 * time.Second})
	l := realAcquire(t, s)
	for range 3 {
		if err := client.BLPop(context.Background(), 2800*time.Millisecond, "nothing").Err(); err != redis.Nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond) // the pool is free
	}
	if !l.Valid() {
		t.Fatalf("lost: %v", l.Err())
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
}

// Redis is gone for longer than a TTL while leases of 200 names are held. Each loss is one line, and nothing spins.
func TestRealRedisAnOutageWith200NamesIsALineEachAndNoSpin(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	m, log := openWith(t, "redis://"+server.Addr())
	const names, ttl = 200, 2 * time.Second
	var leases []*lease.Lease
	for i := range names {
		s, err := m.Semaphore(lease.Config{Name: fmt.Sprintf("tenant-%03d", i), Capacity: 1, TTL: ttl})
		if err != nil {
			t.Fatal(err)
		}
		leases = append(leases, realAcquire(t, s))
	}
	before := m.Client().PoolStats().Misses
	server.Kill()
	for _, l := range leases {
		<-l.Held().Done()
		// The latest attempt was refused, or was still dialling.
		says := l.Err().Error()
		if !errors.Is(l.Err(), lease.ErrLost) || !strings.Contains(says, "nothing listens there") && !strings.Contains(says, "nothing answered in time") {
			t.Fatalf("ended: %v", l.Err())
		}
	}
	tries := m.Client().PoolStats().Misses - before
	redistest.Eventually(t, "each loss is logged", func(context.Context) error {
		if n := strings.Count(log.String(), `msg="lease: lost"`); n < names {
			return fmt.Errorf("%d lines", n)
		}
		return nil
	})
	lines := strings.Count(log.String(), "\n")
	t.Logf("%d lines, %d connections tried in %v", lines, tries, ttl)
	if n := strings.Count(log.String(), `msg="lease: lost"`); n != names || lines > names+20 {
		t.Errorf("%d losses in %d lines, want %d and few others", n, lines, names)
	}
	if tries > 1000 {
		t.Errorf("%d connections were tried within a TTL", tries)
	}
}

// The password is changed and the connections end, while a lease is held and a caller waits. Nothing that is tried again
// can mend that: who waits is told at once, and the lease says why it was lost.
func TestRealRedisAPasswordThatIsChangedIsSaid(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	admin, ctx := server.Client(t), context.Background()
	must := func(args ...any) {
		t.Helper()
		if err := admin.Do(ctx, args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	must("acl", "setuser", "app", "on", ">old", "~*", "&*", "+@all")
	m, _ := openWith(t, "redis://app:old@"+server.Addr())
	s := gpu(t, m, lease.Config{TTL: 3 * time.Second, Handover: -1})
	l := realAcquire(t, s)
	waited := make(chan error, 1)
	go func() {
		_, err := s.Acquire(ctx)
		waited <- err
	}()
	redistest.Eventually(t, "somebody waits", func(ctx context.Context) error {
		state, err := s.Inspect(ctx)
		if err == nil && len(state.Waiters) == 0 {
			err = errors.New("nobody does")
		}
		return err
	})
	must("acl", "setuser", "app", "resetpass", ">new")
	must("client", "kill", "user", "app")
	changed := time.Now()
	for who, err := range map[string]error{
		"who waited": <-waited,
		"a newcomer": func() error { _, err := s.Acquire(ctx); return err }(),
		"the lease":  func() error { <-l.Held().Done(); return l.Err() }(),
		"Ping":       m.Ping(ctx),
	} {
		if trouble := redis.Error(nil); !strings.Contains(fmt.Sprint(err), "WRONGPASS") || !strings.Contains(err.Error(), "check the user name and the password") || !errors.As(err, &trouble) {
			t.Errorf("%s: %v", who, err)
		}
	}
	if !errors.Is(l.Err(), lease.ErrLost) {
		t.Errorf("the lease: %v", l.Err())
	}
	if took := time.Since(changed); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}
