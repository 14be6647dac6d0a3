package leasetest

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// A Fleet is a Redis inside the test and the processes that use it, with no socket between them. It works inside a
// testing/synctest bubble, where its time is the bubble's, and outside. Safe for concurrent use.
type Fleet struct {
	t   testing.TB
	net *sim.Network
}

// NewFleet starts a Redis without data. It ends with the test.
func NewFleet(t testing.TB) *Fleet {
	t.Helper()
	f := &Fleet{t, sim.NewNetwork(1)}
	t.Cleanup(func() { // after those of the processes
		f.net.Close()
		if inBubble() {
			time.Sleep(10 * time.Second) // the bubble's: go-redis goes on dialling for a while when its client is closed
		}
	})
	return f
}

// A Process is a manager, as a process of the fleet has it, and its way to Redis.
type Process struct {
	*lease.Manager
	host *sim.Host
}

// Process starts a process: a manager with a client of its own. It logs to the test's output unless opts has a Logger,
// and its Owner is name unless opts has one. It is closed at the end of the test, which gives back nothing.
func (f *Fleet) Process(name string, opts lease.Options) *Process {
	f.t.Helper()
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.NewTextHandler(f.t.Output(), nil))
	}
	if opts.Owner == "" {
		opts.Owner = name
	}
	host := f.net.Host(name)
	o := host.Options()
	o.ContextTimeoutEnabled = true // as lease.Open sets it
	client := redis.NewClient(o)
	m, err := lease.New(client, opts)
	if err != nil {
		f.t.Fatalf("leasetest: process %q: %v", name, err)
	}
	f.t.Cleanup(func() {
		if err := m.Close(); err != nil {
			f.t.Errorf("leasetest: close the manager of %q: %v", name, err)
		}
		_ = client.Close()
	})
	return &Process{m, host}
}

// Partition cuts the process off: what it sends is lost, and nothing reaches it, until Heal.
func (p *Process) Partition() { p.host.Partition() }

// Crash ends the process's connections and lets it make no other: Redis sees what it sees of a process that was killed.
// The manager of a real one would be gone; this one finds its leases lost.
func (p *Process) Crash() { p.host.Kill() }

// Heal ends a partition or a crash.
func (p *Process) Heal() { p.host.Heal() }

// Stall has Redis hang: it accepts connections and answers nothing, until Resume.
func (f *Fleet) Stall() { f.net.Stall() }

// Resume ends a stall. What was sent meanwhile is executed.
func (f *Fleet) Resume() { f.net.Resume() }

// Restart restarts Redis: all connections end, and the scripts are forgotten. Without keepData the data are lost too.
func (f *Fleet) Restart(keepData bool) { f.net.Restart(keepData) }

// SetClock sets Redis's clock ahead of the processes' by so much, or behind.
func (f *Fleet) SetClock(ahead time.Duration) { f.net.SetClockOffset(ahead) }

// inBubble reports whether the caller is in a bubble of testing/synctest.
func inBubble() (in bool) {
	defer func() { in = recover() == nil }()
	synctest.Wait()
	return true
}
