package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/eqworks/passbuddy/bench/internal/proc"
	"github.com/eqworks/passbuddy/lease"
)

// Words of the page that a measurement of waiters shares.
const (
	wordAcquired = iota // how often a caller has got the permit
	wordEnd             // 1: it is over
)

type waitersArgs struct {
	URL, Name, Page string
	Callers         int
}

type waitersResult struct{ Bytes int64 } // all callers, while they wait

// measureWaiters has more and more callers wait for one permit, and then hand it on.
func measureWaiters(ctx context.Context, quick bool) (*table, error) {
	t := newTable("Callers that wait for one permit",
		"All callers wait while another process holds the permit. *all wait*: from the first call until Redis knows of all of them. "+
			"*places in Redis*: how many stand in the shared queue; their processes keep the others. "+
			"*commands/s, Redis CPU*: during ten seconds in which nothing happens. Then the permit passes from caller to caller, each of which gives it back "+
			"at once: *acquires/s*, of which most pass inside a process, and *commands* for each.",
		"callers", "processes", "all wait", "memory/caller", "places in Redis", "commands/s", "Redis CPU", "acquires/s", "commands/acquire")
	numbers, spread := []int{10, 100, 1000, 10_000, 100_000}, 32
	if quick {
		numbers, spread = []int{10, 1000}, 4
	}
	for _, processes := range []int{1, spread} {
		for _, n := range numbers {
			if n < processes || quick && processes > 1 && n < slices.Max(numbers) {
				continue
			}
			if err := measureWaitersOf(ctx, t, n/processes*processes, processes, quick); err != nil {
				return nil, fmt.Errorf("%d in %d processes: %w", n, processes, err)
			}
		}
	}
	return t, nil
}

func measureWaitersOf(ctx context.Context, t *table, callers, processes int, quick bool) error {
	shared, path, remove, err := proc.TempPage()
	if err != nil {
		return err
	}
	defer remove()
	name := mark + "-waiters"
	ctx, b, err := begin(ctx, "waiters", func(url string) []waitersArgs {
		all := make([]waitersArgs, processes)
		for i := range all {
			all[i] = waitersArgs{url, name, path, callers / processes}
		}
		return all
	})
	if err != nil {
		return err
	}
	defer b.end()
	m, err := open(b.server.URL())
	if err != nil {
		return err
	}
	defer m.Close()
	s, err := m.Semaphore(lease.Config{Name: name, Capacity: 1})
	if err != nil {
		return err
	}
	held, err := s.Acquire(ctx)
	if err != nil {
		return err
	}
	window, err := b.team.Go(0) // they call Acquire at its start, and do not look at its end
	if err != nil {
		return err
	}
	proc.SleepUntil(window.Start)
	places := 0
	for known := 0; known < callers; {
		all, err := m.Summaries(ctx, name)
		if err != nil {
			return err
		}
		places = all[0].Places
		if known = all[0].Callers; known < callers {
			proc.SleepUntil(proc.Now().Add(10 * time.Millisecond))
		}
	}
	joined := proc.Now().Sub(window.Start)
	quiet, busy := 10*time.Second, 5*time.Second
	if quick {
		quiet, busy = time.Second, time.Second
	}
	proc.SleepUntil(proc.Now().Add(time.Second)) // until the answers have come
	idle, err := b.during(ctx, quiet)
	if err != nil {
		return err
	}
	if err := held.Release(); err != nil {
		return err
	}
	proc.SleepUntil(proc.Now().Add(500 * time.Millisecond))
	before := shared.Word(wordAcquired).Load()
	passing, err := b.during(ctx, busy)
	if err != nil {
		return err
	}
	acquired := float64(shared.Word(wordAcquired).Load() - before)
	shared.Word(wordEnd).Store(1)
	results, err := proc.Results[waitersResult](ctx, b.team)
	if err != nil {
		return err
	}
	var bytes int64
	for _, r := range results {
		bytes += r.Bytes
	}
	t.add(count(callers), count(processes), duration(joined), bytesOf(bytes, callers), count(places),
		number(float64(idle.Commands)/quiet.Seconds()), share(idle.CPU, quiet),
		number(acquired/busy.Seconds()), number(float64(passing.Commands)/max(acquired, 1)))
	return nil
}

func waitersChild(line *proc.Child, args waitersArgs) error {
	shared, err := proc.OpenPage(args.Page)
	if err != nil {
		return err
	}
	m, err := open(args.URL)
	if err != nil {
		return err
	}
	s, err := m.Semaphore(lease.Config{Name: args.Name, Capacity: 1, MaxWait: limit})
	if err != nil {
		return err
	}
	if err := m.Ping(context.Background()); err != nil {
		return err
	}
	empty := heap()
	if _, err := line.Ready(); err != nil {
		return err
	}
	acquired, end := shared.Word(wordAcquired), shared.Word(wordEnd)
	var first atomic.Bool
	failed := make(chan error, args.Callers)
	for range args.Callers {
		go func() {
			for {
				l, err := s.Acquire(context.Background())
				if err != nil {
					failed <- err
					return
				}
				acquired.Add(1)
				if end.Load() == 1 {
					if first.CompareAndSwap(false, true) {
						failed <- nil
					}
					_ = l.Release()
					return
				}
				if err := l.Release(); err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	var r waitersResult
	proc.SleepUntil(proc.Now().Add(3 * time.Second)) // they wait by then, or are about to
	r.Bytes = heap() - empty
	if err := <-failed; err != nil {
		return err
	}
	return line.Send(r)
}
