package telemetrytest

import (
	"context"
	"errors"
	"testing"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// A Fleet is one that a collector looks at: "gpu" is full and somebody waits, "old" is declared otherwise by another
// process, and so is "resized", for which an operator has set the capacity; "paused" is paused, "idle" is not in use.
type Fleet struct {
	Manager    *lease.Manager
	Semaphores []*lease.Semaphore // all but idle
	Server     *redistest.Server
}

// NewFleet starts one, on a real Redis. It ends with t.
func NewFleet(t *testing.T) *Fleet {
	server := redistest.Start(t)
	m, other := Open(t, server.Addr()), Open(t, server.Addr())
	f := &Fleet{Manager: m, Server: server}
	for _, name := range []string{"gpu", "old", "resized", "paused"} {
		f.Semaphores = append(f.Semaphores, semaphore(t, m, lease.Config{Name: name, Capacity: 3}))
	}
	acquire(t, f.Semaphores[0], lease.Weight(3))
	for _, name := range []string{"old", "resized"} {
		acquire(t, semaphore(t, other, lease.Config{Name: name, Capacity: 5}))
	}
	if err := m.Resize(t.Context(), "resized", 4); err != nil {
		t.Fatal(err)
	}
	if err := m.Pause(t.Context(), "paused"); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = f.Semaphores[0].Acquire(t.Context(), lease.Weight(2)) }()
	redistest.Eventually(t, "somebody waits", func(ctx context.Context) error {
		all, err := m.Summaries(ctx, "gpu")
		if err == nil && all[0].Callers != 1 {
			err = errors.New("nobody")
		}
		return err
	})
	return f
}

// Open makes a manager that is closed when t ends.
func Open(t testing.TB, addr string, tracers ...lease.Tracer) *lease.Manager {
	t.Helper()
	m, err := lease.Open("redis://"+addr, lease.Options{Logger: quiet, Tracers: tracers})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func semaphore(t testing.TB, m *lease.Manager, cfg lease.Config) *lease.Semaphore {
	t.Helper()
	s, err := m.Semaphore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func acquire(t testing.TB, s *lease.Semaphore, opts ...lease.AcquireOption) *lease.Lease {
	t.Helper()
	l, err := s.Acquire(context.Background(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
