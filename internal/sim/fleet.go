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
	// lease may be lost, but to an operator.
	Gentle bool
}

// A Report is what a fleet did. Violations is empty when every promise was kept.
type Report struct {
	Acquired, Passed, Refused, Lost, Failed   int // Passed: of those acquired, handed over in a process
	Commands, Notifications, Troubles, Orders int
	LongestWait                               time.Duration // while all was well
	Violations                                []string
}

func (r Report) String() string {
	return fmt.Sprintf("%d acquired (%d handed over), %d refused, %d lost, %d failed, %d commands, %d notifications, %d troubles, %d orders, waits up to %v, %d violations",
		r.Acquired, r.Passed, r.Refused, r.Lost, r.Failed, r.Commands, r.Notifications, r.Troubles, r.Orders,
		r.LongestWait.Round(time.Millisecond), len(r.Violations))
}

// A fleet is many managers on one server, each in a process of its own that can be paused and killed,
// and callers in them that acquire, work, tear down and release.
type fleet struct {
	// immutable
	plan Plan
	traits
	network  *Network
	checker  *checker
	operator *operator
	stop     context.Context
	log      *slog.Logger

	mu        sync.Mutex
	processes []*process
	names     int
	callers   sync.WaitGroup
	closing   sync.WaitGroup

	calmMu   sync.Mutex
	calmness chan struct{} // closed: all is well, and callers are quick

	takeovers                               atomic.Int64
	acquired, passed, refused, lost, failed atomic.Int64
}

// Run lives a fleet's life in a bubble of virtual time. It fails t when goroutines are left behind.
func Run(t *testing.T, plan Plan) (report Report) {
	synctest.Test(t, func(t *testing.T) { report = live(plan) })
	return report
}

// expiryGrain is how exactly keys expire; permits expire by their scores.
const expiryGrain = 10 * time.Millisecond

func live(plan Plan) Report {
	r := rand.New(rand.NewPCG(plan.Seed, 1))
	stop, end := context.WithCancel(context.Background())
	f := &fleet{
		plan: plan, traits: plan.traits(r), network: NewNetwork(plan.Seed), stop: stop,
		log: slog.New(slog.NewTextHandler(io.Discard, nil)), calmness: make(chan struct{}),
	}
	f.network.ExpireKeys(expiryGrain)
	if f.replicated {
		f.network.SetReplicas(1, 1)
	}
	f.trouble(f.network, true)
	f.checker = newChecker(f.network, f.sems)
	f.checker.soon = 6*f.trip() + 10*time.Millisecond
	f.checker.plain, f.checker.clustered = f.hops.CutReply == 0, f.clustered
	for range 2 + r.IntN(3) {
		f.spawn(r)
	}
	if f.holdsMany() {
		f.holdMany(f.processes[0])
	}
	if f.heavy {
		f.holdHeavy(f.processes[0])
	}
	f.operator = &operator{fleet: f, rand: rand.New(rand.NewPCG(plan.Seed, 4)), turn: make(chan struct{}, 1)}
	if f.operated {
		f.callers.Go(f.operator.run)
	}
	c := &chaos{fleet: f, rand: rand.New(rand.NewPCG(plan.Seed, 2))}
	c.run(plan.For)

	// The end: no more trouble, everybody goes home, and nothing is left.
	f.calm(false)
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
	f.checker.checkLeft(f)
	time.Sleep(3 * f.longestTTL()) // those that were killed with a permit, and requests that are on their way
	f.takeAll()
	f.checker.checkEmpty()
	f.network.Close()
	return Report{
		Acquired: int(f.acquired.Load()), Passed: int(f.passed.Load()), Refused: int(f.refused.Load()),
		Lost: int(f.lost.Load()), Failed: int(f.failed.Load()),
		Commands: f.checker.commands, Notifications: f.checker.notifications, Troubles: c.troubles, Orders: f.operator.orders,
		LongestWait: f.checker.longestWait, Violations: f.checker.violations,
	}
}

// spawn starts a process with its callers.
func (f *fleet) spawn(r *rand.Rand) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.names++
	p := &process{name: fmt.Sprintf("p%d", f.names)}
	p.host = f.network.Host(p.name)
	if f.muted && r.IntN(2) == 0 {
		p.host.Deny([][]string{{"PUBLISH"}, {"SUBSCRIBE"}, {"PUBLISH", "SUBSCRIBE"}}[r.IntN(3)]...)
	}
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
	if p.client = redis.NewClient(o); f.clustered {
		p.client = f.clusterClient(o)
	}
	var err error
	p.manager, err = lease.New(p.client, lease.Options{Owner: p.name, Clock: processClock{clock.New(), p}, Logger: f.log})
	if err != nil {
		panic(err)
	}
	for _, s := range f.sems {
		sem, err := p.manager.Semaphore(f.declare(s, r))
		if err != nil {
			panic(err)
		}
		p.sems = append(p.sems, sem)
		callers := 1 + r.IntN(3)
		if f.crowded {
			callers = 4 + r.IntN(4)
		}
		p.perSemaphore = max(p.perSemaphore, callers)
		for range callers {
			c := &caller{fleet: f, process: p, sem: sem, what: s, rand: rand.New(rand.NewPCG(r.Uint64(), 3))}
			c.greedy = f.greedy && r.IntN(3) == 0
			f.callers.Go(c.run)
		}
	}
	f.processes = append(f.processes, p)
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
