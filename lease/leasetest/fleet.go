package leasetest

import (
	"log/slog"
	"sync"
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
	t     testing.TB
	net   *sim.Network
	clock *Clock // nil: the system's

	mu        sync.Mutex
	processes []*Process
	stalled   bool
}

// NewFleet starts a Redis without data. It ends with the test.
func NewFleet(t testing.TB) *Fleet {
	t.Helper()
	f := &Fleet{t: t, net: sim.NewNetwork(1)}
	f.SetReplicas(100)
	t.Cleanup(func() { // after those of the processes
		f.net.Close()
		if inBubble() {
			time.Sleep(10 * time.Second) // the bubble's: go-redis goes on dialling for a while when its client is closed
		}
	})
	return f
}

// SetReplicas has n replicas acknowledge what is written from now on; all that Config.MinReplicas can ask for at first. Where it
// asks for more, acquires and renewals find that they are missing.
func (f *Fleet) SetReplicas(n int) { f.net.SetReplicas(n, n) }

// A Process is a manager, as a process of the fleet has it, and its way to Redis.
type Process struct {
	*lease.Manager
	fleet *Fleet
	host  *sim.Host
	cut   bool // guarded by fleet.mu
}

// Process starts a process: a manager with a client of its own. It logs to the test's output unless opts has a Logger,
// its Owner is name unless opts has one, and its clock the fleet's unless opts has one. It is closed at the end of the test, which gives back nothing.
func (f *Fleet) Process(name string, opts lease.Options) *Process {
	f.t.Helper()
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.NewTextHandler(f.t.Output(), nil))
	}
	if opts.Owner == "" {
		opts.Owner = name
	}
	if opts.Clock == nil && f.clock != nil {
		opts.Clock = f.clock
	}
	host := f.net.Host(name)
	o := host.Options()
	o.ContextTimeoutEnabled = true // as lease.Open sets it
	if f.clock != nil {
		o.DialerRetries = 1 // the client waits between them in real time
	}
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
	p := &Process{Manager: m, fleet: f, host: host}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.processes = append(f.processes, p)
	return p
}

// Partition cuts the process off: what it sends is lost, and nothing reaches it, until Heal.
func (p *Process) Partition() {
	p.isCut(true)
	p.host.Partition()
}

// Crash ends the process's connections and lets it make no other, until Heal: Redis sees what it sees of a process that was
// killed. The manager of a real one would be gone; this one finds its leases lost.
func (p *Process) Crash() {
	p.isCut(true)
	p.host.Refuse()
}

// Heal ends a partition or a crash.
func (p *Process) Heal() {
	if p.fleet.clock != nil {
		p.host.Disconnect() // what hangs would end by the client's timeouts, in real time
	}
	p.host.Heal()
	p.isCut(false)
}

func (p *Process) isCut(cut bool) {
	p.fleet.mu.Lock()
	defer p.fleet.mu.Unlock()
	p.cut = cut
}

// Stall has Redis hang: it accepts connections and answers nothing, until Resume.
func (f *Fleet) Stall() {
	f.isStalled(true)
	f.net.Stall()
}

// Resume ends a stall. What was sent meanwhile is executed.
func (f *Fleet) Resume() {
	f.net.Resume()
	f.isStalled(false)
}

func (f *Fleet) isStalled(stalled bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stalled = stalled
}

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
