package lease_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
)

// Tests on real servers take real time: what they wait for is a server's expiry.

// inRealTime marks a test that waits for servers and expiries: it runs beside others of its kind, and not under -short.
func inRealTime(t *testing.T) {
	t.Helper()
	alone(t)
	t.Parallel()
}

// alone marks a test that keeps the processors busy, or that would mistake busy processors for a fault: it runs beside no
// other, and not under -short.
func alone(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it takes seconds on a real server")
	}
}

// soakOr returns how long a test lasts: long where PASSBUDDY_SOAK is set, as in CI.
func soakOr(long, short time.Duration) time.Duration {
	if os.Getenv("PASSBUDDY_SOAK") != "" {
		return long
	}
	return short
}

// thorough says that all sizes of a test are run, as in CI. Otherwise those will do that differ most.
func thorough() bool { return os.Getenv("PASSBUDDY_SOAK") != "" || os.Getenv("CI") != "" }

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

// openWith is a manager whose log can be read.
func openWith(t testing.TB, url string) (*lease.Manager, *logBuffer) {
	t.Helper()
	log := new(logBuffer)
	m, err := lease.Open(url, lease.Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m, log
}

func realSemaphore(t testing.TB, m *lease.Manager, capacity int) *lease.Semaphore {
	s, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: capacity, TTL: realTTL})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// gpu is the semaphore that these tests share.
func gpu(t testing.TB, m *lease.Manager, cfg lease.Config) *lease.Semaphore {
	t.Helper()
	cfg.Name = "gpu"
	if cfg.Capacity == 0 {
		cfg.Capacity = 1
	}
	s, err := m.Semaphore(cfg)
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

// gone is for Eventually: a key is gone.
func gone(client redis.UniversalClient, key string) error {
	n, err := client.Exists(context.Background(), key).Result()
	if err == nil && n > 0 {
		err = fmt.Errorf("%s is there", key)
	}
	return err
}

// mustBeClean fails the test when a permit or a waiter of the semaphore is left over.
func mustBeClean(t *testing.T, admin redis.UniversalClient) {
	t.Helper()
	for _, key := range []string{"passbuddy-gpu", "{passbuddy-gpu}:queue"} {
		if left := admin.ZRange(context.Background(), key, 0, -1).Val(); len(left) > 0 {
			t.Errorf("left over in %s: %q", key, left)
		}
	}
}
