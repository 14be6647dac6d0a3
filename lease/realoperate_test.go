package lease_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// What people do who operate a fleet, on a real Redis.

// Waiters of several processes, in the order in which they asked, whatever process they are of.
func TestPromise8FirstComeFirstServedRealRedis(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	admin := server.Client(t)
	judge := newJudge(t)
	const processes = 6
	fleet := startFleet(t, processes, judge, "redis://"+server.Addr(), lease.Config{Name: "gpu", Capacity: 4, Handover: -1})
	fleet[0].must(order{Do: "hold", Key: "all", Weight: 4})
	var waiting []<-chan report
	of := func(i int) *member { return fleet[(i*5+i/processes)%processes] } // all of them, mixed
	for i := range 3 * processes {                                          // a process has as many in the queue as capacity, and one
		weight := 1
		if i >= 2*processes {
			weight = 1 + i%3 // heavy ones are each process's last: those before leave room for them to register
		}
		waiting = append(waiting, of(i).send(order{Do: "hold", Key: fmt.Sprint(i), Weight: weight}))
		mustQueue(t, admin, queueKey, int64(i+1))
	}
	fleet[0].must(order{Do: "release", Key: "all"})
	var last int64
	for i, w := range waiting { // whoever was served out of order has a larger token than one before
		a := of(i).await(w)
		if a.Err != "" {
			t.Fatalf("waiter %d: %s", i, a.Err)
		}
		if a.Token <= last {
			t.Errorf("waiter %d got token %d, the one before %d", i, a.Token, last)
		}
		last = a.Token
		of(i).must(order{Do: "release", Key: fmt.Sprint(i)})
	}
	mustBeClean(t, admin)
}

// What an acquire costs Redis does not depend on how many wait, and one permit wakes one waiter.
func TestPromise9NoHerdRealRedis(t *testing.T) {
	inRealTime(t)
	cost := func(processes int) (perAcquire, perGrant float64) {
		server := redistest.Start(t)
		admin := server.Client(t)
		p := &place{url: "redis://" + server.Addr()}
		defer p.close()
		cfg := lease.Config{Name: "gpu", Capacity: 1, TTL: time.Minute, RetryInterval: 20 * time.Second, Handover: -1}
		const callers, each = 2, 40
		start := make(chan struct{})
		var all sync.WaitGroup
		l := realAcquire(t, p.use(t, 0, cfg))
		for i := range processes {
			s := p.use(t, i, cfg)
			for range callers {
				all.Go(func() {
					for range each {
						l, err := s.Acquire(t.Context())
						if err != nil {
							t.Error(err)
							return
						}
						<-start
						if err := l.Release(); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		mustQueue(t, admin, queueKey, int64(callers*processes))
		mustHaveInboxes(t, admin, processes)
		before, pushes := commands(t, admin), calls(t, admin, "publish")
		close(start)
		if err := l.Release(); err != nil {
			t.Error(err)
		}
		all.Wait()
		n := float64(callers * each * processes)
		return float64(commands(t, admin)-before) / n, float64(calls(t, admin, "publish")-pushes) / n
	}
	few, fewPushes := cost(4)
	many, manyPushes := cost(32)
	t.Logf("per acquire: 4 processes %.1f commands and %.2f pushes, 32 processes %.1f and %.2f", few, fewPushes, many, manyPushes)
	if many > 1.25*few {
		t.Errorf("%.1f commands per acquire with 4 processes, %.1f with 32", few, many)
	}
	if manyPushes > 1 {
		t.Errorf("%.2f pushes per acquire", manyPushes)
	}
}

func TestPromise11LimitsAreExplicitRealRedis(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	admin := server.Client(t)
	ctx := context.Background()
	url := "redis://" + server.Addr()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	t.Run("an override outlasts a deploy", func(t *testing.T) {
		old, _ := openWith(t, url)
		s := gpu(t, old, lease.Config{Capacity: 1})
		must(realAcquire(t, s).Release())
		must(s.Resize(ctx, 3))
		must(old.Close())
		deployed, _ := openWith(t, url)
		s = gpu(t, deployed, lease.Config{Capacity: 2}) // declares another capacity
		var held []*lease.Lease
		for range 3 {
			l, err := s.TryAcquire(ctx)
			must(err)
			held = append(held, l)
		}
		_, err := s.TryAcquire(ctx)
		var full *lease.CapacityError
		if !errors.As(err, &full) || full.Capacity != 3 || full.Held != 3 {
			t.Errorf("the fourth got %v", err)
		}
		state, err := s.Inspect(ctx)
		must(err)
		if state.Capacity != 3 || !state.Resized || state.Declared != 2 {
			t.Errorf("%+v", state)
		}
		// What shrinks takes nothing away.
		must(s.Resize(ctx, 1))
		for i, l := range held {
			if !l.Valid() {
				t.Errorf("the capacity shrank, and a lease ended: %v", l.Err())
			}
			if i < 2 {
				must(l.Release())
				_, err := s.TryAcquire(ctx)
				if !errors.Is(err, lease.ErrAtCapacity) {
					t.Errorf("%d still held, capacity 1: %v", 2-i, err)
				}
			}
		}
		must(held[2].Release())
		l, err := s.TryAcquire(ctx)
		must(err)
		must(l.Release())
		must(s.ResetCapacity(ctx))
		state, err = s.Inspect(ctx)
		must(err)
		if state.Capacity != 2 || state.Resized {
			t.Errorf("%+v", state)
		}
		must(deployed.Close())
	})

	t.Run("a pause stops all and costs nobody its lease or its place", func(t *testing.T) {
		a, _ := openWith(t, url)
		b, _ := openWith(t, url)
		sa, sb := gpu(t, a, lease.Config{Capacity: 1, TTL: realTTL}), gpu(t, b, lease.Config{Capacity: 1, TTL: realTTL})
		l := realAcquire(t, sa)
		waiting := asking(t, sb)
		mustQueue(t, admin, queueKey, 1)
		must(sb.Pause(ctx))
		_, err := sb.TryAcquire(ctx)
		var full *lease.CapacityError
		if !errors.As(err, &full) || full.Capacity != 0 {
			t.Errorf("TryAcquire returned %v", err)
		}
		must(l.Release())
		polls := calls(t, admin, "evalsha")
		redistest.Eventually(t, "the waiter polls in vain", func(context.Context) error {
			if calls(t, admin, "evalsha") < polls+3 {
				return errors.New("no poll")
			}
			return nil
		})
		mustStillWait(t, "who waits for a paused semaphore", waiting)
		must(sa.ResetCapacity(ctx))
		must(mustBeServed(t, "who waited for a paused semaphore", waiting).lease.Release())
	})

	t.Run("processes that disagree are told once", func(t *testing.T) {
		admin.FlushAll(ctx)
		m1, log1 := openWith(t, url)
		m2, log2 := openWith(t, url)
		s1 := gpu(t, m1, lease.Config{Capacity: 1, TTL: 10 * time.Second})
		s2 := gpu(t, m2, lease.Config{Capacity: 2, TTL: 20 * time.Second})
		for range 5 {
			must(realAcquire(t, s1).Release())
			must(realAcquire(t, s2).Release())
		}
		state, err := s1.Inspect(ctx)
		must(err)
		if state.Declared != 1 || state.DeclaredTTL != 10*time.Second || state.OtherDeclared != 2 || state.OtherTTL != 20*time.Second {
			t.Errorf("%+v", state)
		}
		for _, log := range []*logBuffer{log1, log2} {
			redistest.Eventually(t, "the disagreement is said", func(context.Context) error {
				if n := strings.Count(log.String(), "another process declares other limits"); n != 1 {
					return fmt.Errorf("said %d times:\n%s", n, log)
				}
				return nil
			})
		}
		if !strings.Contains(log1.String(), "other_capacity=2") || !strings.Contains(log1.String(), "other_ttl=20s") {
			t.Errorf("logged %s", log1)
		}
	})

	t.Run("a request that a smaller capacity makes impossible is refused", func(t *testing.T) {
		m1, _ := openWith(t, url)
		m2, _ := openWith(t, url)
		s1, s2 := gpu(t, m1, lease.Config{Capacity: 3}), gpu(t, m2, lease.Config{Capacity: 3})
		l := realAcquire(t, s1)
		heavy := asking(t, s2, lease.Weight(3))
		mustQueue(t, admin, queueKey, 1)
		must(s1.Resize(ctx, 2))
		if g := <-heavy; !errors.Is(g.err, lease.ErrOption) {
			t.Errorf("the heavy one got %v", g.err)
		}
		must(l.Release())
		must(s1.ResetCapacity(ctx))
	})
	mustBeClean(t, admin)
}

func TestRealRedisRevokeReachesAnotherProcessAtOnceAndFreesNothing(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client(t)
	ctx := context.Background()
	judge := newJudge(t)
	cfg := lease.Config{Name: "gpu", Capacity: 2, TTL: 30 * time.Second} // renewals are 9 seconds apart
	holder := startFleet(t, 1, judge, "redis://"+server.Addr(), cfg)[0]
	m, _ := openWith(t, "redis://"+server.Addr())
	s := gpu(t, m, cfg)
	first, err := s.Acquire(ctx, lease.Weight(2))
	if err != nil {
		t.Fatal(err)
	}
	holding := holder.send(order{Do: "hold", Key: "a", Weight: 2}) // it waits, and so it listens
	mustQueue(t, admin, queueKey, 1)
	if err := s.Revoke(ctx, admin.ZRange(ctx, queueKey, 0, 0).Val()[0]); !errors.Is(err, lease.ErrUnknownID) {
		t.Errorf("a waiter was revoked: %v", err)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	a := holder.await(holding)
	ended := holder.send(order{Do: "end", Key: "a"})
	for _, id := range []string{"nobody", a.ID + "0", uuid.NewString()} {
		if err := s.Revoke(ctx, id); !errors.Is(err, lease.ErrUnknownID) {
			t.Errorf("Revoke of %q returned %v", id, err)
		}
	}
	start := time.Now()
	if err := s.Revoke(ctx, a.ID); err != nil {
		t.Fatal(err)
	}
	e := holder.await(ended)
	took := time.Unix(0, e.At).Sub(start)
	t.Logf("the other process's lease ended %v after Revoke", took)
	if e.Revoked != 1 || took > 5*time.Second {
		t.Errorf("ended after %v, revoked: %v", took, e.Revoked == 1)
	}
	state, err := s.Inspect(ctx)
	if err != nil || state.Held != 2 || len(state.Holders) != 1 || !state.Holders[0].Revoked || state.Holders[0].ID != a.ID || state.Holders[0].Weight != 2 {
		t.Errorf("%+v, %v", state, err)
	}
	if err := s.Revoke(ctx, a.ID); err != nil { // again
		t.Error(err)
	}
	if _, err := s.TryAcquire(ctx); !errors.Is(err, lease.ErrAtCapacity) {
		t.Errorf("the revoked permit was given away: %v", err)
	}
	if a := holder.await(holder.send(order{Do: "release", Key: "a"})); !strings.Contains(a.Err, "revoked") {
		t.Errorf("Release said %q", a.Err)
	}
	l, err := s.TryAcquire(ctx, lease.Weight(2))
	if err != nil {
		t.Fatal(err)
	}
	// Of this process, which does not wait for anything and need not listen.
	if err := s.Revoke(ctx, l.ID()); err != nil {
		t.Fatal(err)
	}
	var lost *lease.LostError
	if !errors.As(l.Err(), &lost) || lost.Reason != lease.LossRevoked {
		t.Errorf("revoked by its own process, and Err is %v", l.Err())
	}
	_ = l.Release()
	mustBeClean(t, admin)
}

// The holder of a revoked permit has died: nobody gives it back, and time takes it.
func TestRealRedisARevokedPermitIsFreeWhenItsTimeIsUp(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	admin := server.Client(t)
	ctx := context.Background()
	cfg := lease.Config{Name: "gpu", Capacity: 1, TTL: realTTL}
	judge := newJudge(t)
	holder := startFleet(t, 1, judge, "redis://"+server.Addr(), cfg)[0]
	a := holder.must(order{Do: "hold", Key: "a"})
	holder.kill()
	m, _ := openWith(t, "redis://"+server.Addr())
	s := gpu(t, m, cfg)
	expiry := time.UnixMilli(int64(admin.ZScore(ctx, "passbuddy-gpu", a.ID).Val()))
	if err := s.Revoke(ctx, a.ID); err != nil {
		t.Fatal(err)
	}
	g := mustBeServed(t, "the next", asking(t, s))
	if g.at.Before(expiry) {
		t.Errorf("served %v before the revoked permit's time was up", expiry.Sub(g.at))
	}
	_ = g.lease.Release()
}

func TestRealRedisInspectShowsALargeSemaphore(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client(t)
	ctx := context.Background()
	now := time.Now()
	var holders, waiters []redis.Z
	asked := now.Add(-time.Hour).Truncate(time.Millisecond)
	id := func(i int) string {
		u := uuid.UUID{6: 0x70, 14: byte(i >> 8), 15: byte(i)}
		ms := asked.UnixMilli()
		for b := range 6 {
			u[b] = byte(ms >> (40 - 8*b))
		}
		return u.String()
	}
	const each = 10_000
	held, expired := 0, 0
	for i := range each {
		expiry := float64(now.Add(time.Hour).UnixMilli() + int64(i%4000)) // many share one
		switch owner := fmt.Sprintf("%s@worker/%d~abc", id(i), i%50); {
		case i%1000 == 0: // a heavy one, sometimes a revoked one
			for n := range 30 {
				name := fmt.Sprintf("%s#30,%d", owner, n+1)
				if i%2000 == 0 {
					name = "revoked," + name
				}
				holders = append(holders, redis.Z{Member: name, Score: expiry})
			}
			held += 30
		case i%100 == 1: // Node's: a plain UUID
			holders = append(holders, redis.Z{Member: uuid.NewString(), Score: expiry})
			held++
		case i%100 == 2: // expired
			holders = append(holders, redis.Z{Member: owner, Score: float64(now.Add(-time.Minute).UnixMilli())})
			expired++
		default:
			holders = append(holders, redis.Z{Member: owner, Score: expiry})
			held++
		}
		waiters = append(waiters, redis.Z{Member: fmt.Sprintf("%s@waiting/%d~abc", id(i), i%50), Score: float64(now.UnixMicro() + int64(i))})
	}
	for part := range slices.Chunk(holders, 1000) {
		admin.ZAdd(ctx, "passbuddy-gpu", part...)
	}
	for part := range slices.Chunk(waiters, 1000) {
		admin.ZAdd(ctx, queueKey, part...)
	}
	for i := range 50 {
		admin.ZAdd(ctx, "{passbuddy-gpu}:alive", redis.Z{Member: fmt.Sprintf("waiting/%d~abc", i), Score: float64(now.Add(time.Hour).UnixMilli())})
	}
	m, _ := openWith(t, "redis://"+server.Addr())
	s := gpu(t, m, lease.Config{Capacity: 20_000})
	dirty := func() string {
		info, _ := admin.Info(ctx, "persistence").Result()
		_, rest, _ := strings.Cut(info, "rdb_changes_since_last_save:")
		n, _, _ := strings.Cut(rest, "\r")
		return n
	}
	before := dirty()
	start := time.Now()
	state, err := s.Inspect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d holders and %d waiters in %v", len(state.Holders), len(state.Waiters), time.Since(start))
	if after := dirty(); after != before {
		t.Errorf("Inspect wrote: %s changes before, %s after", before, after)
	}
	if state.Held != held || len(state.Holders) != each-expired || len(state.Waiters) != each {
		t.Errorf("%d held by %d, %d wait; want %d, %d, %d", state.Held, len(state.Holders), len(state.Waiters), held, each-expired, each)
	}
	heavy, revoked, plain := 0, 0, 0
	for _, h := range state.Holders {
		switch {
		case h.Weight == 30 && h.Revoked:
			revoked++
		case h.Weight == 30:
			heavy++
		case h.Owner == "" && h.AskedAt.IsZero():
			plain++
		case !strings.HasPrefix(h.Owner, "worker/") || h.Weight != 1 || !h.AskedAt.Equal(asked) || h.Expires.Before(now):
			t.Fatalf("%+v", h)
		}
	}
	if heavy != 5 || revoked != 5 || plain != 100 {
		t.Errorf("%d heavy, %d revoked, %d of Node's", heavy, revoked, plain)
	}
	for i, w := range state.Waiters {
		if w.Place != i+1 || w.ID != waiters[i].Member || w.Owner != fmt.Sprintf("waiting/%d~abc", i%50) || w.AliveUntil.Before(now) || w.Since.UnixMicro() != int64(waiters[i].Score) {
			t.Fatalf("place %d: %+v", i+1, w)
		}
	}
}

// Inspect pages while everything is renewed: nothing is counted twice.
func TestRealRedisInspectCountsNothingTwiceWhileAllIsRenewed(t *testing.T) {
	server := redistest.Start(t)
	m, _ := openWith(t, "redis://"+server.Addr())
	other, _ := openWith(t, "redis://"+server.Addr())
	cfg := lease.Config{Capacity: 4000, TTL: 400 * time.Millisecond} // renewed every 120 ms
	s := gpu(t, m, cfg)
	for range 4 {
		l, err := s.Acquire(t.Context(), lease.Weight(1000))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Release() }()
	}
	operator := gpu(t, other, cfg)
	for range 50 {
		state, err := operator.Inspect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if state.Held > 4000 || len(state.Holders) > 4 {
			t.Fatalf("%d held by %d", state.Held, len(state.Holders))
		}
	}
}
