package lease_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// A Redis whose memory is full refuses commands that take memory. What is held lives on, and goes back, and the next
// waiter has it at once: its next poll is far away.
func TestRealRedisAFullMemoryHoldsUpNoReleaseAndNoRenewal(t *testing.T) {
	server := redistest.Start(t)
	ctx := context.Background()
	open := func() (*lease.Manager, *lease.Semaphore) {
		m, err := lease.New(server.Client(t), lease.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close() })
		s, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 1, TTL: time.Hour, RetryInterval: 20 * time.Minute, Handover: -1})
		if err != nil {
			t.Fatal(err)
		}
		return m, s
	}
	_, holders := open()
	_, waiters := open()
	l := realAcquire(t, holders)
	next := make(chan *lease.Lease)
	go func() {
		if got, err := waiters.Acquire(ctx); err == nil {
			next <- got
		}
		close(next)
	}()
	redistest.Eventually(t, "the waiter stands in the queue", func(ctx context.Context) error {
		st, err := holders.Inspect(ctx)
		if err == nil && len(st.Waiters) != 1 {
			err = errors.New("nobody waits")
		}
		return err
	})
	client := server.Client(t)
	if err := client.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := client.Set(ctx, "x", "y", 0).Err(); err == nil {
		t.Fatal("the memory is not full")
	}
	if err := l.Release(); err != nil {
		t.Errorf("a release: %v", err)
	}
	select {
	case got := <-next:
		if got == nil {
			t.Fatal("the waiter failed")
		}
		if err := got.Release(); err != nil {
			t.Errorf("a release that nobody waits for: %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the waiter waits for its poll")
	}
}

func TestRealRedisAFullMemoryCostsNoLease(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	ctx := context.Background()
	m, err := lease.New(server.Client(t), lease.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 1, TTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	l := realAcquire(t, s)
	client := server.Client(t)
	if err := client.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-l.Context().Done():
		t.Errorf("lost: %v", l.Err())
	case <-time.After(3 * time.Second): // three TTLs
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
}
