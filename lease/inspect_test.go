package lease_test

import (
	"context"
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

// A process registers a few of its callers in the queue, and says how many wait.
func TestInspectShowsHowManyCallersWait(t *testing.T) {
	inBubble(t, func(w *world) {
		ctx, leave := context.WithCancel(context.Background())
		a, _ := w.process("a")
		b, _ := w.process("b")
		few, many := w.semaphore(a, 8), w.semaphore(b, 8)
		held := w.acquire(few, lease.Weight(8))
		var callers sync.WaitGroup
		wait := func(s *lease.Semaphore, n int) {
			for range n {
				callers.Go(func() {
					l, err := s.Acquire(ctx)
					if err == nil {
						_ = l.Release()
					}
				})
			}
			time.Sleep(time.Second) // two polls
		}
		want := func(processes ...lease.WaitingProcess) {
			w.Helper()
			state, err := a.Inspect(context.Background(), "gpu")
			if err != nil {
				w.Fatal(err)
			}
			for i, p := range state.Waiting {
				state.Waiting[i].Owner, _, _ = strings.Cut(p.Owner, "~")
			}
			if !slices.Equal(state.Waiting, processes) {
				w.Errorf("%+v wait, want %+v", state.Waiting, processes)
			}
		}
		want()
		wait(few, 3)
		want(lease.WaitingProcess{Owner: "a", Places: 3, Callers: 3})
		wait(many, 1000)
		want(lease.WaitingProcess{Owner: "a", Places: 3, Callers: 3}, lease.WaitingProcess{Owner: "b", Places: 9, Callers: 1000})
		wait(many, 1)
		want(lease.WaitingProcess{Owner: "a", Places: 3, Callers: 3}, lease.WaitingProcess{Owner: "b", Places: 9, Callers: 1001})

		// All of them leave: what was said before does not stay.
		leave()
		callers.Wait()
		ctx, leave = context.WithCancel(context.Background())
		wait(many, 3)
		want(lease.WaitingProcess{Owner: "b", Places: 3, Callers: 3})
		leave()
		callers.Wait()
		w.mustHold(held)
	})
}
