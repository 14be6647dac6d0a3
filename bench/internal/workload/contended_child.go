package workload

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/proc"
	"github.com/eqworks/passbuddy/bench/internal/stats"
)

// contendedResult is what one process found.
type contendedResult struct {
	Acquires []int64 // by caller
	Changed  int64   // acquires after another caller
	Crossed  int64   // acquires after another process
	Worked   time.Duration
	Waits    []byte
}

// contendedMetrics puts the processes' results together; d is how long they worked.
func contendedMetrics(results []contendedResult, d time.Duration) (Metrics, error) {
	var total, changed, crossed int64
	var worked time.Duration
	var shares []float64
	waits := stats.NewWaits()
	for _, r := range results {
		for _, n := range r.Acquires {
			total += n
			shares = append(shares, float64(n))
		}
		changed += r.Changed
		crossed += r.Crossed
		worked += r.Worked
		w, err := stats.DecodeWaits(r.Waits)
		if err != nil {
			return nil, err
		}
		waits.Merge(w)
	}
	if total == 0 {
		return nil, errors.New("not one acquire in time")
	}
	return Metrics{
		"worked":   worked.Seconds() / d.Seconds(),
		"acquires": float64(total) / d.Seconds(),
		"changed":  float64(changed) / float64(total),
		"crossed":  float64(crossed) / float64(total),
		"p50":      float64(waits.Percentile(50)),
		"p99":      float64(waits.Percentile(99)),
		"max":      float64(waits.Max()),
		"jain":     stats.Jain(shares),
	}, nil
}

// A contendingCaller is one of the 64. Its fields belong to its goroutine.
type contendingCaller struct {
	// immutable
	id        int64 // from 1, unique among the processes
	perOne    int64 // callers in each process
	semaphore contender.Semaphore
	watch     *stats.Watch
	section   time.Duration
	stop      proc.Instant

	waits    *stats.Waits
	acquires int64
	changed  int64
	crossed  int64
	worked   time.Duration // under a permit, where the section is not empty
}

// process returns the number of the process that a caller lives in; no caller, no process.
func (c *contendingCaller) process(caller int64) int64 {
	if caller == 0 {
		return -1
	}
	return (caller - 1) / c.perOne
}

// run asks again and again until stop, when ctx ends too.
func (c *contendingCaller) run(ctx context.Context) error {
	for c.acquires < maxPairs {
		asked := proc.Now()
		if asked >= c.stop {
			return nil
		}
		permit, err := c.semaphore.Acquire(ctx)
		got := proc.Now()
		if got >= c.stop {
			// What the end cut off would be missing among the longest waits.
			c.waits.Add(c.stop.Sub(asked))
			if err == nil {
				_ = permit.Release()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("acquire: %w", err)
		}
		c.waits.Add(got.Sub(asked))
		before := c.watch.Enter(c.id)
		c.acquires++
		if before != c.id {
			c.changed++
		}
		if c.process(before) != c.process(c.id) {
			c.crossed++
		}
		if c.section > 0 {
			time.Sleep(c.section)
			c.worked += min(proc.Now(), c.stop).Sub(got)
		}
		c.watch.Leave()
		if err := permit.Release(); err != nil && proc.Now() < c.stop {
			return fmt.Errorf("release: %w", err)
		}
	}
	return nil
}

func contendedChild(line *proc.Child, args contendedArgs) error {
	c, client, err := args.open()
	if err != nil {
		return err
	}
	page, err := proc.OpenPage(args.Page)
	if err != nil {
		return err
	}
	warm := args.side
	warm.Name = fmt.Sprintf("%s-%d", args.Name, args.Process)
	if _, err := warm.semaphores(context.Background(), c, client, args.Options.Callers); err != nil {
		return err
	}
	semaphore, err := client.Semaphore(args.Name, args.Capacity)
	if err != nil {
		return err
	}
	callers := make([]*contendingCaller, args.Options.Callers)
	for i := range callers {
		callers[i] = &contendingCaller{
			id:        int64(args.Process*len(callers) + i + 1),
			perOne:    int64(len(callers)),
			semaphore: semaphore,
			section:   args.Section,
			waits:     stats.NewWaits(),
		}
	}
	window, err := line.Ready()
	if err != nil {
		return err
	}
	ctx, undo := until(window.Stop, client)
	defer undo()
	w := watch(page, args.Capacity, window.Stop)
	errs := make([]error, len(callers))
	var group sync.WaitGroup
	for i, caller := range callers {
		caller.stop, caller.watch = window.Stop, w
		group.Go(func() { errs[i] = caller.run(ctx) })
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	var r contendedResult
	waits := stats.NewWaits()
	for _, caller := range callers {
		r.Acquires = append(r.Acquires, caller.acquires)
		r.Changed += caller.changed
		r.Crossed += caller.crossed
		r.Worked += caller.worked
		waits.Merge(caller.waits)
	}
	if r.Waits, err = waits.Encode(); err != nil {
		return err
	}
	return line.Send(r)
}
