package lease_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

func TestReleaseEndsTheContextsFirst(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p")
		l := w.acquire(w.semaphore(m, 1))
		ctx, held := l.Context(), l.Held()
		w.net.OnCommand(func(_ string, _ time.Time, cmd []string) {
			if len(membersOf(w.net.Server())) == 0 && (ctx.Err() == nil || held.Err() == nil) {
				w.Error("the permit was free while the contexts lived")
			}
		})
		if err := l.Release(); err != nil {
			w.Fatal(err)
		}
		if err := l.Release(); err != nil {
			w.Errorf("the second call returned %v", err)
		}
		if l.Context() != ctx || l.Held() != held || !errors.Is(l.Err(), lease.ErrReleased) {
			w.Error("the lease changed its contexts or its reason")
		}
	})
}

func TestReleaseAsyncReturnsBeforeRedisAnswers(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 2)
		l := w.acquire(s)
		p := s.Permit()
		if err := p.Acquire(context.Background()); err != nil {
			w.Fatal(err)
		}
		w.net.Stall()
		start := time.Now()
		l.ReleaseAsync()
		p.ReleaseAsync()
		if d := time.Since(start); d != 0 {
			w.Errorf("it waited %v for Redis", d)
		}
		if !errors.Is(context.Cause(l.Context()), lease.ErrReleased) || p.IsHeld() {
			w.Errorf("cause %v, held %v", context.Cause(l.Context()), p.IsHeld())
		}
		if err := l.Release(); err != nil || time.Since(start) != 0 {
			w.Errorf("a later Release returned %v after %v", err, time.Since(start))
		}
		if n := len(w.members()); n != 2 {
			w.Errorf("%d permits in Redis before it answers", n)
		}
		w.net.Resume()
		time.Sleep(worldTTL / 4)
		if n := len(w.members()); n != 0 {
			w.Errorf("%d permits did not go back", n)
		}
	})
}

func TestReleaseAsyncOfALostLeaseKeepsTheReason(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		l := w.acquire(w.semaphore(m, 1))
		leasetest.Lose(l)
		l.ReleaseAsync()
		if err := l.Release(); !errors.Is(err, lease.ErrLost) {
			w.Errorf("Release returned %v", err)
		}
		synctest.Wait()
		if n := len(w.members()); n != 0 {
			w.Errorf("%d permits did not go back", n)
		}
	})
}

func TestALeaseThatIsCollectedEndsAndIsLoggedAndNotGivenBack(t *testing.T) {
	server := miniredis.RunT(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer client.Close()
	logged := make(chan string, 10)
	m, err := lease.New(client, lease.Options{Logger: slog.New(slog.NewTextHandler(writer(func(p []byte) { logged <- string(p) }), nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 2, TTL: 600 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	kept, err := s.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	child := context.WithValue(kept.Context(), anyKey{}, "v")
	keptID := kept.ID()
	kept = nil
	lost, err := s.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	done, lostID := lost.Context().Done(), lost.ID()
	lost = nil
	for over := false; !over; {
		runtime.GC()
		select {
		case <-done:
			over = true
		default:
			runtime.Gosched()
		}
	}
	if line := <-logged; !strings.Contains(line, lostID) || !strings.Contains(line, "level=ERROR") || !strings.Contains(line, "gpu") {
		t.Errorf("logged %q", line)
	}
	if score, err := client.ZScore(context.Background(), "passbuddy-gpu", lostID).Result(); err != nil || score == 0 {
		t.Errorf("the permit was given back though its holder never said so: %v, %v", score, err)
	}
	if l := lease.FromContext(child); l == nil || !l.Valid() || l.ID() != keptID {
		t.Error("a lease was collected that its context still refers to")
	}
	runtime.KeepAlive(child)
}
