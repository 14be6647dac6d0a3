package lease_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

func noHandover(c *lease.Config) { c.Handover = -1 }

// queuedCallers wait while somebody holds the only permit, each arriving a little after the one before. They record in
// which order they are served.
type queuedCallers struct {
	mu     sync.Mutex
	served []int
	wg     sync.WaitGroup
}

func (c *queuedCallers) add(w *world, s *lease.Semaphore, n int, hold time.Duration, opts ...lease.AcquireOption) {
	c.wg.Go(func() {
		l, err := s.Acquire(context.Background(), opts...)
		if err != nil {
			w.Errorf("caller %d: %v", n, err)
			return
		}
		c.mu.Lock()
		c.served = append(c.served, n)
		c.mu.Unlock()
		time.Sleep(hold)
		_ = l.Release()
	})
	time.Sleep(20 * time.Millisecond)
}

func (c *queuedCallers) mustBeServedInOrder(w *world, n int) {
	w.Helper()
	c.wg.Wait()
	if len(c.served) != n || !slices.IsSorted(c.served) {
		w.Errorf("served in the order %v", c.served)
	}
}

// A got is what an Acquire returned, and when.
type got struct {
	lease *lease.Lease
	err   error
	at    time.Time
}

// asking has a caller acquire; it waits until the test ends at the latest.
func asking(t testing.TB, s *lease.Semaphore, opts ...lease.AcquireOption) <-chan got {
	t.Helper()
	served := make(chan got, 1)
	ctx := t.Context()
	go func() {
		l, err := s.Acquire(ctx, opts...)
		served <- got{l, err, time.Now()}
	}()
	return served
}

// mustBeServed waits for the lease. It fails the test after a minute.
func mustBeServed(t testing.TB, who string, served <-chan got) got {
	t.Helper()
	select {
	case g := <-served:
		if g.err != nil {
			t.Fatalf("%s: %v", who, g.err)
		}
		return g
	case <-time.After(time.Minute):
		t.Fatalf("%s still waits", who)
	}
	return got{}
}

func mustStillWait(t testing.TB, who string, served <-chan got) {
	t.Helper()
	select {
	case g := <-served:
		t.Fatalf("%s waits no more: %v", who, g.err)
	default:
	}
}

const queueKey = "{passbuddy-gpu}:queue"

// mustQueue waits until n stand in the shared queue.
func mustQueue(t testing.TB, admin redis.UniversalClient, key string, n int64) {
	t.Helper()
	redistest.Eventually(t, fmt.Sprintf("%d wait in %s", n, key), func(ctx context.Context) error {
		in, err := admin.ZCard(ctx, key).Result()
		if err == nil && in != n {
			err = fmt.Errorf("%d wait", in)
		}
		return err
	})
}

// inboxes returns the channels that anybody subscribes to.
func inboxes(t testing.TB, admin redis.UniversalClient) []string {
	t.Helper()
	channels, err := admin.PubSubChannels(context.Background(), "passbuddy:inbox:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	return channels
}

func mustHaveInboxes(t testing.TB, admin redis.UniversalClient, n int) []string {
	t.Helper()
	var channels []string
	redistest.Eventually(t, fmt.Sprintf("there are %d subscriptions", n), func(context.Context) error {
		if channels = inboxes(t, admin); len(channels) != n {
			return fmt.Errorf("%q", channels)
		}
		return nil
	})
	return channels
}
