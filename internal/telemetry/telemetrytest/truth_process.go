package telemetrytest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// maxCalls is how many calls a process has under way.
const maxCalls = 24

// A process is one of the fleet: a manager behind a proxy, what its tracer exports, and what its callers know.
type process struct {
	proxy    *redistest.Proxy
	exporter Exporter
	random   *rand.Rand // the stepping goroutine's

	manager    *lease.Manager
	semaphores []*lease.Semaphore
	calls      sync.WaitGroup

	mu      sync.Mutex
	running int           // calls
	changed chan struct{} // has an element when a call has ended
	leases  []*held
	own     *counts
}

// A held is a lease that its holder has not released.
type held struct {
	*lease.Lease
	weight int
}

func (p *process) open(t testing.TB) {
	p.changed = make(chan struct{}, 1)
	p.manager = Open(t, p.proxy.Addr(), p.exporter.Tracer)
	p.semaphores = nil
	for _, name := range slices.Sorted(maps.Keys(truthNames)) {
		p.semaphores = append(p.semaphores, semaphore(t, p.manager, lease.Config{Name: name, Capacity: truthNames[name], TTL: truthTTL}))
	}
}

// reopen closes the manager, with all that it has, and has another go on with the same tracer.
func (p *process) reopen(t testing.TB) {
	if err := p.manager.Close(); err != nil {
		t.Error(err)
	}
	p.calls.Wait()
	p.open(t)
}

// step does one operation. It waits while too many calls are under way and there is nothing to release, unless done is
// closed.
func (p *process) step(operator *lease.Manager, done <-chan struct{}) {
	n := p.random.IntN(100)
	for {
		p.mu.Lock()
		full, some := p.running >= maxCalls, len(p.leases) > 0
		p.mu.Unlock()
		switch {
		case n == 0 && some:
			p.revoke(operator)
			return
		case n < 52 && !full:
			p.acquire()
			return
		case some:
			p.release()
			return
		case !full:
			p.acquire()
			return
		}
		select {
		case <-p.changed:
		case <-done:
			return
		}
	}
}

// call runs fn in a goroutine of its own.
func (p *process) call(fn func()) {
	p.mu.Lock()
	p.running++
	p.mu.Unlock()
	p.calls.Go(func() {
		fn()
		p.mu.Lock()
		p.running--
		p.mu.Unlock()
		select {
		case p.changed <- struct{}{}:
		default:
		}
	})
}

func (p *process) acquire() {
	s := p.semaphores[p.random.IntN(len(p.semaphores))]
	weight := 1 + p.random.IntN(3)
	opts := []lease.AcquireOption{lease.Weight(weight)}
	ctx, cancel := context.WithCancel(context.Background())
	patience := time.Duration(1+p.random.IntN(60)) * time.Millisecond
	switch p.random.IntN(5) {
	case 0:
		opts = append(opts, lease.MaxWait(-1))
	case 1:
		opts = append(opts, lease.MaxWait(patience))
	case 2:
		stop := cancel
		timer := time.AfterFunc(patience, stop)
		cancel = func() { timer.Stop(); stop() }
	}
	if p.random.IntN(10) == 0 {
		opts = append(opts, lease.MaxHold(patience))
	}
	p.mu.Lock()
	p.own.change(s.Name(), gauges{waiting: 1})
	p.mu.Unlock()
	p.call(func() {
		l, err := s.Acquire(ctx, opts...)
		cancel() // the lease outlives it
		p.mu.Lock()
		defer p.mu.Unlock()
		p.own.change(s.Name(), gauges{waiting: -1})
		p.own.of[outcomeOf(err)]++
		if err == nil {
			p.own.change(s.Name(), gauges{leases: 1, permits: weight})
			p.leases = append(p.leases, &held{l, weight})
		}
	})
}

func (p *process) release() {
	p.mu.Lock()
	i := p.random.IntN(len(p.leases))
	l := p.leases[i]
	p.leases = slices.Delete(p.leases, i, i+1)
	async := p.random.IntN(4) == 0
	p.mu.Unlock()
	p.call(func() { p.giveBack(l, async) })
}

// giveBack releases a lease and counts how it ended.
func (p *process) giveBack(l *held, async bool) {
	var err error
	if async {
		l.ReleaseAsync()
	} else {
		err = l.Release()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.own.ended(l)
	var unconfirmed *lease.RedisError
	switch {
	case async:
		p.own.of["async"]++
	case errors.As(err, &unconfirmed) && !errors.Is(err, lease.ErrLost):
		p.own.of["release failed"]++
	}
}

func (p *process) revoke(operator *lease.Manager) {
	p.mu.Lock()
	l := p.leases[p.random.IntN(len(p.leases))]
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = operator.Revoke(ctx, l.Name(), l.ID())
}

// compare gives up the leases that have ended, and compares what is exported with what the callers know. It returns
// that, by semaphore.
func (p *process) compare() (map[string]gauges, error) {
	p.mu.Lock()
	var gone []*held
	p.leases = slices.DeleteFunc(p.leases, func(l *held) bool {
		if l.Valid() {
			return false
		}
		gone = append(gone, l)
		return true
	})
	p.mu.Unlock()
	for _, l := range gone {
		p.giveBack(l, true)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	exported, err := Values(p.exporter.Export())
	if err != nil {
		return nil, err
	}
	for what, want := range p.own.series() {
		got := 0.0
		for _, one := range what.sum {
			got += exported[one]
		}
		if got < float64(want.least) || got > float64(want.most) {
			return nil, fmt.Errorf("%s: exported is %v, and the callers know of %d to %d", what.name, got, want.least, want.most)
		}
	}
	return maps.Clone(p.own.now), nil
}

func outcomeOf(err error) string {
	switch {
	case err == nil:
		return gotOne
	case errors.Is(err, lease.ErrAtCapacity):
		return "at_capacity"
	case errors.Is(err, lease.ErrClosed):
		return "closed"
	case errors.Is(err, context.Canceled):
		return "canceled"
	}
	return "failed"
}
