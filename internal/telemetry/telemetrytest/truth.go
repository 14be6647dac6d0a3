package telemetrytest

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

var quiet = slog.New(slog.DiscardHandler)

// An Exporter is a tracer, and what a scrape reads of it.
type Exporter struct {
	Tracer lease.Tracer
	Export func() string
}

// Truth has three processes of a fleet acquire and release at random on a real Redis, through proxies that cut and stall;
// leases are revoked, held for too long and lost, and managers are closed. Again and again it lets the fleet come to rest,
// and compares what each process exports with what its callers know and with what Redis says.
//
// There are 100,000 operations where PASSBUDDY_SOAK or CI is set, as in CI.
func Truth(t *testing.T, newExporter func() Exporter) {
	operations, rounds := 10_000, 40
	switch {
	case testing.Short():
		operations, rounds = 1_000, 4
	case os.Getenv("PASSBUDDY_SOAK") != "" || os.Getenv("CI") != "":
		operations = 100_000
	}
	server := redistest.Start(t)
	f := &truth{t: t, operator: Open(t, server.Addr())}
	for i := range 3 {
		p := &process{proxy: redistest.NewProxy(t, server.Addr()), exporter: newExporter(), random: rand.New(rand.NewPCG(1, uint64(i))), own: newCounts()}
		p.open(t)
		f.processes = append(f.processes, p)
	}
	for round := range rounds {
		f.round(round, operations/rounds)
		if round%10 == 9 {
			f.processes[round/10%len(f.processes)].reopen(t)
		}
		f.compare()
	}
	f.end()
}

const truthTTL = 600 * time.Millisecond

// The semaphores, and how many permits each has.
var truthNames = map[string]int{"gpu": 12, "cpu": 30}

// A truth is a fleet whose metrics are compared with the truth.
type truth struct {
	t         *testing.T
	operator  *lease.Manager // whose connection is sound
	processes []*process
	waiting   int // quiet points at which somebody waited
}

// round does so many operations, with faults meanwhile. In each fourth round one process is cut off first, for so long
// that it loses its leases.
func (f *truth) round(round, operations int) {
	var left atomic.Int64
	left.Store(int64(operations))
	done := make(chan struct{})
	over := sync.OnceFunc(func() { close(done) })
	var working sync.WaitGroup
	for i, p := range f.processes {
		random := rand.New(rand.NewPCG(uint64(round), uint64(i)))
		working.Go(func() {
			if round%4 == 1 && i == round/4%len(f.processes) {
				p.proxy.Swallow()
				wait(truthTTL+100*time.Millisecond, nil)
				p.proxy.Heal()
			}
			working.Go(func() { p.trouble(random, done) })
			for left.Add(-1) >= 0 {
				p.step(f.operator, done)
			}
			over()
		})
	}
	working.Wait()
}

// trouble has faults of the network come and go until done is closed.
func (p *process) trouble(random *rand.Rand, done <-chan struct{}) {
	defer p.proxy.Heal()
	for {
		lasts := time.Duration(random.IntN(60)) * time.Millisecond
		switch random.IntN(6) {
		case 0:
			p.proxy.Cut()
		case 1:
			p.proxy.CutAfterRequest(1 + random.IntN(3))
		case 2:
			p.proxy.Delay(time.Duration(random.IntN(20)) * time.Millisecond)
		case 3:
			p.proxy.Swallow()
		case 4:
			p.proxy.SwallowReplies()
		}
		if !wait(lasts, done) {
			return
		}
		p.proxy.Heal()
		if !wait(time.Duration(random.IntN(300))*time.Millisecond, done) {
			return
		}
	}
}

// wait lets time pass; false: done is closed.
func wait(d time.Duration, done <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-done:
		return false
	}
}

// compare waits until the fleet has come to rest, and what it exports is the truth.
func (f *truth) compare() {
	f.t.Helper()
	redistest.Eventually(f.t, "the metrics are what the callers and Redis know", func(context.Context) error {
		all := map[string]gauges{}
		for i, p := range f.processes {
			own, err := p.compare()
			if err != nil {
				return fmt.Errorf("process %d: %w", i, err)
			}
			for name, g := range own {
				all[name] = all[name].plus(g)
			}
		}
		waiting := 0
		for name, g := range all {
			s, err := f.operator.Inspect(f.t.Context(), name)
			if err != nil {
				return err
			}
			if calling := callers(s); s.Held != g.permits || calling != g.waiting {
				return fmt.Errorf("%s: Redis has %d permits and %d callers that wait, the processes have %d and %d", name, s.Held, calling, g.permits, g.waiting)
			}
			waiting += g.waiting
		}
		if waiting > 0 {
			f.waiting++
		}
		return nil
	})
}

// callers are those that wait in processes that live: the places of a manager that was closed stay for a while.
func callers(s *lease.State) (n int) {
	lives := map[string]bool{}
	for _, w := range s.Waiters {
		lives[w.Owner] = lives[w.Owner] || w.AliveUntil.After(s.ServerTime)
	}
	for _, p := range s.Waiting {
		if lives[p.Owner] {
			n += p.Callers
		}
	}
	return n
}

// end closes all managers: then nothing is left. It also sees that the test was not too tame.
func (f *truth) end() {
	sum := newCounts()
	for _, p := range f.processes {
		if err := p.manager.Close(); err != nil {
			f.t.Error(err)
		}
		p.calls.Wait()
	}
	f.compare()
	for _, p := range f.processes {
		p.mu.Lock()
		sum.add(p.own)
		for name, g := range p.own.now {
			if g != (gauges{}) {
				f.t.Errorf("at the end, %s has %+v", name, g)
			}
		}
		p.mu.Unlock()
	}
	f.t.Logf("somebody waited at %d quiet points; %v", f.waiting, sum)
	if testing.Short() {
		return
	}
	for _, of := range []string{"at_capacity", "canceled", "closed", "failed", gotOne, "released", "lost", "max_hold", "closed lease", "expired", "revoked"} {
		if sum.of[of] == 0 {
			f.t.Errorf("nothing was %s: the test is too tame", of)
		}
	}
	if f.waiting == 0 {
		f.t.Error("nobody waited at a quiet point: the test is too tame")
	}
}
