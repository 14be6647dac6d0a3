package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
)

// A Plan says what kind of life a fleet leads. Everything else is drawn from the seed.
type Plan struct {
	Seed uint64
	For  time.Duration // fleet time

	// Gentle keeps every trouble shorter than a third of the shortest TTL, with quiet between: then no
	// lease may be lost.
	Gentle bool
}

// A Report is what a fleet did. Violations is empty when every promise was kept.
type Report struct {
	Acquired, Refused, Lost, Failed, Commands, Troubles int
	Violations                                          []string
}

func (r Report) String() string {
	return fmt.Sprintf("%d acquired, %d refused, %d lost, %d failed, %d commands, %d troubles, %d violations",
		r.Acquired, r.Refused, r.Lost, r.Failed, r.Commands, r.Troubles, len(r.Violations))
}

// A fleet is many managers on one server, each in a process of its own that can be paused and killed,
// and callers in them that acquire, work, tear down and release.
type fleet struct {
	// immutable
	plan    Plan
	network *Network
	checker *checker
	sems    []lease.Config
	stop    context.Context
	log     *slog.Logger

	mu        sync.Mutex
	processes []*process
	names     int
	callers   sync.WaitGroup
	closing   sync.WaitGroup

	acquired, refused, lost, failed atomic.Int64
}

// Run lives a fleet's life in a bubble of virtual time. It fails t when goroutines are left behind.
func Run(t *testing.T, plan Plan) (report Report) {
	synctest.Test(t, func(t *testing.T) { report = live(plan) })
	return report
}

func live(plan Plan) Report {
	r := rand.New(rand.NewPCG(plan.Seed, 1))
	stop, end := context.WithCancel(context.Background())
	f := &fleet{plan: plan, network: NewNetwork(plan.Seed), stop: stop, log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for i := range 1 + r.IntN(2) {
		ttl := []time.Duration{2 * time.Second, 5 * time.Second, 15 * time.Second}[r.IntN(3)]
		f.sems = append(f.sems, lease.Config{Name: fmt.Sprintf("s%d", i), Capacity: 1 + r.IntN(3), TTL: ttl, RetryInterval: ttl / 4})
	}
	f.network.SetFaults(plan.faults(r, f.shortestTTL()))
	f.checker = newChecker(f.network, f.sems)
	for range 2 + r.IntN(3) {
		f.spawn(r)
	}
	c := &chaos{fleet: f, rand: rand.New(rand.NewPCG(plan.Seed, 2))}
	c.run(plan.For)

	// The end: no more trouble, everybody goes home, and nothing is left.
	f.network.SetFaults(Faults{})
	end()
	f.callers.Wait()
	for _, p := range f.alive() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		if err := p.manager.Shutdown(ctx); err != nil {
			f.checker.violate("leak: process %s still has something a minute after its callers left: %v", p.name, err)
		}
		cancel()
		_ = p.manager.Close()
		_ = p.client.Close()
	}
	f.closing.Wait()
	time.Sleep(3 * f.longestTTL()) // those that were killed with a permit, and requests that are on their way
	f.checker.checkEmpty()
	f.network.Close()
	return Report{
		Acquired: int(f.acquired.Load()), Refused: int(f.refused.Load()), Lost: int(f.lost.Load()), Failed: int(f.failed.Load()),
		Commands: f.checker.commands, Troubles: c.troubles, Violations: f.checker.violations,
	}
}

func (f *fleet) shortestTTL() time.Duration {
	d := f.sems[0].TTL
	for _, s := range f.sems {
		d = min(d, s.TTL)
	}
	return d
}

func (f *fleet) longestTTL() time.Duration {
	var d time.Duration
	for _, s := range f.sems {
		d = max(d, s.TTL)
	}
	return d
}

// A process has a manager, a client and callers. While it is paused nothing in it runs: no timer, no
// byte from or to the network, no caller.
type process struct {
	name    string
	host    *Host
	client  *redis.Client
	manager *lease.Manager

	mu     sync.Mutex
	paused chan struct{} // closed on resume; nil: it runs
	dead   bool
}

// gate returns when the process runs, and reports whether it lives.
func (p *process) gate() bool {
	for {
		p.mu.Lock()
		paused, dead := p.paused, p.dead
		p.mu.Unlock()
		if paused == nil || dead {
			return !dead
		}
		<-paused
	}
}

func (p *process) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused == nil && !p.dead {
		p.paused = make(chan struct{})
	}
}

// resume wakes the process up. The first that runs in it asks the contexts, as the promise has it.
func (p *process) resume(ask func()) {
	p.mu.Lock()
	paused := p.paused
	p.mu.Unlock()
	if paused == nil {
		return
	}
	ask()
	p.mu.Lock()
	p.paused = nil
	p.mu.Unlock()
	close(paused)
}

// runs reports whether the process lives and is not paused.
func (p *process) runs() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused == nil && !p.dead
}

// A processClock holds timers back while the process is paused.
type processClock struct {
	clock.Clock
	process *process
}

func (c processClock) AfterFunc(d time.Duration, f func()) *clock.Timer {
	return c.Clock.AfterFunc(d, func() {
		c.process.gate()
		f()
	})
}

// A processConn holds bytes back while the process is paused.
type processConn struct {
	net.Conn
	process *process
}

func (c processConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.process.gate()
	return n, err
}

func (c processConn) Write(b []byte) (int, error) {
	c.process.gate()
	return c.Conn.Write(b)
}

// SyscallConn lets go-redis see that an idle connection was reset.
func (c processConn) SyscallConn() (syscall.RawConn, error) {
	return c.Conn.(syscall.Conn).SyscallConn()
}

// spawn starts a process with its callers.
func (f *fleet) spawn(r *rand.Rand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names++
	p := &process{name: fmt.Sprintf("p%d", f.names)}
	p.host = f.network.Host(p.name)
	o := p.host.Options()
	o.ContextTimeoutEnabled = r.IntN(2) == 0
	o.Dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		p.gate()
		conn, err := p.host.Dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return processConn{conn, p}, nil
	}
	p.client = redis.NewClient(o)
	var err error
	p.manager, err = lease.New(p.client, lease.Options{Owner: p.name, Clock: processClock{clock.New(), p}, Logger: f.log})
	if err != nil {
		panic(err)
	}
	f.processes = append(f.processes, p)
	for _, cfg := range f.sems {
		sem, err := p.manager.Semaphore(cfg)
		if err != nil {
			panic(err)
		}
		for range 1 + r.IntN(3) {
			c := &caller{fleet: f, process: p, sem: sem, rand: rand.New(rand.NewPCG(r.Uint64(), 3))}
			f.callers.Go(c.run)
		}
	}
}

// kill ends a process at once, with all that it holds.
func (f *fleet) kill(p *process) {
	p.mu.Lock()
	if p.dead {
		p.mu.Unlock()
		return
	}
	p.dead = true
	paused := p.paused
	p.paused = nil
	p.mu.Unlock()
	p.host.Kill()
	if paused != nil {
		close(paused)
	}
	f.closing.Go(func() { // its goroutines are still ours to end
		_ = p.manager.Close()
		_ = p.client.Close()
	})
}

func (f *fleet) alive() []*process {
	f.mu.Lock()
	defer f.mu.Unlock()
	var alive []*process
	for _, p := range f.processes {
		p.mu.Lock()
		if !p.dead {
			alive = append(alive, p)
		}
		p.mu.Unlock()
	}
	return alive
}

// isKnown reports whether err is an answer that Acquire may give.
func isKnown(err error) bool {
	var trouble *lease.RedisError
	return errors.Is(err, lease.ErrAtCapacity) || errors.Is(err, context.Canceled) || errors.Is(err, lease.ErrClosed) || errors.As(err, &trouble)
}
