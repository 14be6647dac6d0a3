package lease_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// Gauges are what a tracer can count.
type gauges struct {
	lease.NopTracer
	mu                       sync.Mutex
	waiting, leases, permits int
	releases                 int // under way
	outcomes                 map[lease.Outcome]int
	ends                     map[lease.EndReason]int
	began, ended             map[int64]bool // by token
	endedTwice, endedUnbegun int
	unconfirmed              int
}

func newGauges() *gauges {
	return &gauges{outcomes: map[lease.Outcome]int{}, ends: map[lease.EndReason]int{}, began: map[int64]bool{}, ended: map[int64]bool{}}
}

func (g *gauges) TraceAcquireStart(ctx context.Context, _ lease.AcquireStart) context.Context {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting++
	return ctx
}

func (g *gauges) TraceAcquireEnd(_ context.Context, end lease.AcquireEnd) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting--
	g.outcomes[end.Outcome]++
	if end.Err == nil {
		g.leases++
		g.permits += end.Weight
		g.began[end.Lease.Token] = true
	}
}

func (g *gauges) TraceLeaseEnd(_ context.Context, end lease.LeaseEnd) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leases--
	g.permits -= end.Lease.Weight
	g.ends[end.Reason]++
	if g.ended[end.Lease.Token] {
		g.endedTwice++
	}
	if !g.began[end.Lease.Token] {
		g.endedUnbegun++
	}
	g.ended[end.Lease.Token] = true
}

func (g *gauges) TraceReleaseStart(ctx context.Context, _ lease.ReleaseStart) context.Context {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.releases++
	return ctx
}

func (g *gauges) TraceReleaseEnd(_ context.Context, end lease.ReleaseEnd) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.releases--
	if end.Err != nil {
		g.unconfirmed++
	}
}

// A user acquires and releases at random.
type user struct {
	*world
	gauges *gauges
	sem    *lease.Semaphore
	random *rand.Rand
	weight map[*lease.Lease]int

	mu      sync.Mutex
	leases  []*lease.Lease
	waiting int
	all     sync.WaitGroup
}

func (u *user) acquire() {
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	weight := 1 + u.random.IntN(3)
	opts := []lease.AcquireOption{lease.Weight(weight)}
	switch u.random.IntN(4) {
	case 0:
		opts = append(opts, lease.MaxWait(-1))
	case 1:
		opts = append(opts, lease.MaxWait(time.Duration(1+u.random.IntN(2000))*time.Millisecond))
	case 2:
		ctx, cancel = context.WithTimeout(ctx, time.Duration(1+u.random.IntN(2000))*time.Millisecond)
	}
	if u.random.IntN(8) == 0 {
		opts = append(opts, lease.MaxHold(time.Duration(1+u.random.IntN(3000))*time.Millisecond))
	}
	u.mu.Lock()
	u.waiting++
	u.mu.Unlock()
	u.all.Go(func() {
		l, err := u.sem.Acquire(ctx, opts...)
		context.AfterFunc(u.Context(), cancel)
		u.mu.Lock()
		defer u.mu.Unlock()
		u.waiting--
		if err == nil {
			u.leases = append(u.leases, l)
			u.weight[l] = weight
		}
	})
}

func (u *user) release() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.leases) == 0 {
		return
	}
	i := u.random.IntN(len(u.leases))
	l := u.leases[i]
	u.leases = append(u.leases[:i], u.leases[i+1:]...)
	if u.random.IntN(2) == 0 {
		l.ReleaseAsync()
		return
	}
	u.all.Go(func() { _ = l.Release() })
}

// anID is the id of a lease; "": there is none.
func (u *user) anID() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.leases) == 0 {
		return ""
	}
	return u.leases[u.random.IntN(len(u.leases))].ID()
}

// tearDown releases the leases that have ended, and returns how many.
func (u *user) tearDown() (n int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.leases = slices.DeleteFunc(u.leases, func(l *lease.Lease) bool {
		if l.Valid() {
			return false
		}
		l.ReleaseAsync()
		n++
		return true
	})
	return n
}

// quiet lets everything come to rest, and compares the gauges with Redis and with what the user knows.
func (u *user) quiet(host *sim.Host) {
	host.Heal()
	host.SetFaults(sim.Faults{})
	for again := true; again; again = u.tearDown() > 0 {
		time.Sleep(4 * worldTTL)
	}
	members := len(u.members())
	u.mu.Lock()
	defer u.mu.Unlock()
	live, permits := 0, 0
	for _, l := range u.leases {
		if l.Valid() {
			live++
			permits += u.weight[l]
		}
	}
	g := u.gauges
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.leases != live || g.permits != permits || g.permits != members || g.waiting != u.waiting || g.releases != 0 {
		u.Fatalf("the gauges show %d leases on %d permits, %d callers that wait, %d releases under way; there are %d leases on %d permits, %d callers, and %d permits in Redis",
			g.leases, g.permits, g.waiting, g.releases, live, permits, u.waiting, members)
	}
	if g.endedTwice+g.endedUnbegun > 0 {
		u.Fatalf("%d leases ended twice, %d before they began", g.endedTwice, g.endedUnbegun)
	}
}

// From what a tracer is told, exact gauges follow, whatever happens.
func TestGaugesOfATracerAreExact(t *testing.T) {
	const operations = 10_000
	inBubble(t, func(w *world) {
		u := &user{world: w, gauges: newGauges(), random: rand.New(rand.NewPCG(1, 1)), weight: map[*lease.Lease]int{}}
		m, host := w.process("a", tracedBy(u.gauges))
		u.sem = w.semaphore(m, 12, func(c *lease.Config) { c.Handover = time.Second })
		other, _ := w.process("b")
		quiets := 0
		for i := range operations {
			switch n := u.random.IntN(100); {
			case n < 42:
				u.acquire()
			case n < 82:
				u.release()
			case n < 97:
				if time.Sleep(time.Duration(u.random.IntN(200)) * time.Millisecond); u.random.IntN(5) == 0 {
					host.Heal()
				}
			case n < 98:
				host.SetFaults(sim.Faults{Latency: time.Duration(u.random.IntN(600)) * time.Millisecond, DropReply: 0.1, CutRequest: 0.1})
			case n < 99:
				host.Partition()
			default:
				if id := u.anID(); id != "" {
					_ = other.Revoke(context.Background(), "gpu", id)
				}
			}
			if i%200 == 199 {
				u.quiet(host)
				quiets++
			}
		}
		u.mu.Lock()
		for _, l := range u.leases {
			l.ReleaseAsync()
		}
		u.leases = nil
		u.mu.Unlock()
		_ = m.Close()
		u.all.Wait()
		synctest.Wait() // Close does not wait for the tracers
		u.gauges.mu.Lock()
		defer u.gauges.mu.Unlock()
		t.Logf("%d quiet points; outcomes %v, ends %v, %d releases were not confirmed", quiets, u.gauges.outcomes, u.gauges.ends, u.gauges.unconfirmed)
		for o := lease.OutcomeGranted; o <= lease.OutcomeCanceled; o++ {
			if u.gauges.outcomes[o] == 0 {
				t.Errorf("no acquire was %v: the test is too tame", o)
			}
		}
		for r := lease.EndReleased; r <= lease.EndMaxHold; r++ {
			if u.gauges.ends[r] == 0 {
				t.Errorf("no lease was %v: the test is too tame", r)
			}
		}
		if u.gauges.leases != 0 || u.gauges.waiting != 0 {
			t.Errorf("at the end, %d leases and %d callers are left", u.gauges.leases, u.gauges.waiting)
		}
	})
}
