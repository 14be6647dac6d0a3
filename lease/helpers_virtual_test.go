package lease_test

import (
	"context"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// A world is a bubble of virtual time with one Redis in it and the processes that use it.
type world struct {
	*testing.T
	net *sim.Network
	log *logBuffer
}

// inBubble runs test in virtual time, and fails it when anything is left running.
func inBubble(t *testing.T, test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, net: sim.NewNetwork(1), log: &logBuffer{}}
		w.Cleanup(func() { // after those of the processes
			w.net.Close()
			time.Sleep(10 * time.Second) // go-redis goes on dialling for a while when its client is closed
		})
		test(w)
	})
}

// inAnHour is inBubble for a test that may hang: renewals go on in virtual time, so that no deadlock is
// found.
func inAnHour(t *testing.T, test func(*world)) {
	t.Helper()
	inBubble(t, func(w *world) {
		stuck := time.AfterFunc(time.Hour, func() { panic("the test hangs") })
		w.Cleanup(func() { stuck.Stop() })
		test(w)
	})
}

const worldTTL = 6 * time.Second

// process starts a process of the fleet. It is closed by the test's end.
func (w *world) process(name string, change ...func(*redis.Options, *lease.Options)) (*lease.Manager, *sim.Host) {
	w.Helper()
	host := w.net.Host(name)
	ro := host.Options()
	lo := lease.Options{Owner: name, Logger: slog.New(slog.NewTextHandler(w.log, nil))}
	for _, f := range change {
		f(ro, &lo)
	}
	client := redis.NewClient(ro)
	m, err := lease.New(client, lo)
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { // still in the bubble
		_ = m.Close()
		_ = client.Close()
	})
	return m, host
}

func (w *world) semaphore(m *lease.Manager, capacity int, change ...func(*lease.Config)) *lease.Semaphore {
	w.Helper()
	cfg := lease.Config{Name: "gpu", Capacity: capacity, TTL: worldTTL}
	for _, f := range change {
		f(&cfg)
	}
	s, err := m.Semaphore(cfg)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

func (w *world) acquire(s *lease.Semaphore, opts ...lease.AcquireOption) *lease.Lease {
	w.Helper()
	return w.acquireWith(context.Background(), s, opts...)
}

func (w *world) acquireWith(ctx context.Context, s *lease.Semaphore, opts ...lease.AcquireOption) *lease.Lease {
	w.Helper()
	l, err := s.Acquire(ctx, opts...)
	if err != nil {
		w.Fatal(err)
	}
	return l
}

func (w *world) use(p *lease.Permit, ctx context.Context) (context.Context, context.CancelFunc) {
	w.Helper()
	used, done, err := p.Use(ctx)
	if err != nil {
		w.Fatal(err)
	}
	return used, done
}

func (w *world) mustHold(l *lease.Lease) {
	w.Helper()
	if !l.Valid() || l.Context().Err() != nil || l.Held().Err() != nil || l.Err() != nil {
		w.Fatalf("the lease ended: %v, %v", l.Err(), context.Cause(l.Context()))
	}
}

// members returns who counts in Redis, with the expiries by the server's clock.
func (w *world) members() (alive map[string]time.Time) {
	w.net.Look(func(r *miniredis.Miniredis) { alive = membersOf(r) })
	return alive
}

// membersOf is members for a function that runs on the server's thread.
func membersOf(r *miniredis.Miniredis) map[string]time.Time {
	set, err := r.SortedSet("passbuddy-gpu")
	if err != nil {
		return nil
	}
	alive := map[string]time.Time{}
	for id, score := range set {
		if at := time.UnixMilli(int64(score)); at.After(time.Now()) {
			alive[id] = at
		}
	}
	return alive
}
