package lease_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

func TestRevokedLeasesEndAndTheirPermitStaysUntilTheyAreReleased(t *testing.T) {
	inBubble(t, func(w *world) {
		ctx := context.Background()
		a, _ := w.process("a")
		b, _ := w.process("b")
		sa, sb := w.semaphore(a, 3), w.semaphore(b, 3)
		l := w.acquire(sa, lease.Weight(2))
		if err := sb.Revoke(ctx, l.ID()); err != nil {
			w.Fatal(err)
		}
		<-l.Held().Done() // with the next renewal at the latest
		var lost *lease.LostError
		if !errors.As(l.Err(), &lost) || lost.Reason != lease.LossRevoked {
			w.Errorf("ended with %v", l.Err())
		}
		if err := sb.Revoke(ctx, l.ID()); err != nil {
			w.Errorf("revoked again: %v", err)
		}
		if _, err := sb.TryAcquire(ctx, lease.Weight(2)); !errors.Is(err, lease.ErrAtCapacity) {
			w.Errorf("the permit is free before its holder has released it: %v", err)
		}
		if err := l.Release(); !errors.Is(err, lease.ErrLost) {
			w.Errorf("Release: %v", err)
		}
		if _, err := sb.TryAcquire(ctx, lease.Weight(3)); err != nil {
			w.Errorf("released, and not free: %v", err)
		}
		if err := sb.Revoke(ctx, l.ID()); !errors.Is(err, lease.ErrUnknownID) {
			w.Errorf("nobody holds it: %v", err)
		}
	})
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

// The holder of a revoked permit has died: nobody gives it back, and it is free when it has expired.
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
