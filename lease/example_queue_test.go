package lease_test

import (
	"context"
	"fmt"
	"log"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/eqworks/passbuddy/lease"
)

// Jobs of different sizes share one limit: a heavy one takes several permits at once, in its turn.
func Example_weightedSlots() {
	m, stop := newManager()
	defer stop()
	memory := mustSemaphore(m, lease.Config{Name: "memory-gb", Capacity: 16})

	var inUse, most atomic.Int64
	job := func(gb int) func() error {
		return func() error {
			return memory.Do(context.Background(), func(context.Context) error {
				most.Store(max(most.Load(), inUse.Add(int64(gb))))
				inUse.Add(int64(-gb))
				return nil
			}, lease.Weight(gb))
		}
	}
	var jobs errgroup.Group
	for _, gb := range []int{1, 12, 2, 4, 16, 8} {
		jobs.Go(job(gb))
	}
	if err := jobs.Wait(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("never more than 16 GB:", most.Load() <= 16)
	err := memory.Do(context.Background(), func(context.Context) error { return nil }, lease.Weight(17))
	fmt.Println(err)
	// Output:
	// never more than 16 GB: true
	// lease: Weight = 17: semaphore "memory-gb" has a capacity of 16
}

// Who holds, who waits; a larger limit for the whole fleet; a permit taken away.
func ExampleSemaphore_Inspect() {
	m, stop := newManager()
	defer stop()
	ctx := context.Background()
	gpu := mustSemaphore(m, lease.Config{Name: "gpu", Capacity: 8})
	l, err := gpu.Acquire(ctx, lease.Weight(3))
	if err != nil {
		log.Fatal(err)
	}
	defer l.Release()

	state, err := gpu.Inspect(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d of %d held, %d wait\n", state.Held, state.Capacity, len(state.Waiters))
	err = gpu.Resize(ctx, 12)                  // Pause, Resume, ResetCapacity
	err = gpu.Revoke(ctx, state.Holders[0].ID) // its contexts end; the permit stays until it is released
	if err != nil {
		log.Fatal(err)
	}
	<-l.Context().Done()
	fmt.Println(l.Err().(*lease.LostError).Reason)
	// Output:
	// 3 of 8 held, 0 wait
	// revoked
}

// A gauge of the leases that live, and a counter of those that were lost.
type gauge struct {
	lease.NopTracer
	live, lost atomic.Int64
}

func (g *gauge) TraceAcquireEnd(_ context.Context, end lease.AcquireEnd) {
	if end.Err == nil {
		g.live.Add(1)
	}
}

func (g *gauge) TraceLeaseEnd(_ context.Context, end lease.LeaseEnd) {
	g.live.Add(-1)
	if end.Reason == lease.EndLost {
		g.lost.Add(1)
	}
}

// A tracer counts what a metrics library shows.
func ExampleTracer() {
	var g gauge
	m, stop := newManager(lease.Options{Tracers: []lease.Tracer{&g}})
	defer stop()
	err := mustSemaphore(m, lease.Config{Name: "gpu", Capacity: 1}).Do(context.Background(), func(context.Context) error {
		fmt.Println(g.live.Load(), "lives")
		return nil
	})
	fmt.Println(g.live.Load(), "live,", g.lost.Load(), "lost,", err)
	// Output:
	// 1 lives
	// 0 live, 0 lost, <nil>
}
