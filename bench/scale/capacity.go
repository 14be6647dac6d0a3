package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/eqworks/passbuddy/bench/internal/proc"
	"github.com/eqworks/passbuddy/bench/internal/redisserver"
	"github.com/eqworks/passbuddy/lease"
)

// measureCapacity takes the last permit of larger and larger semaphores.
func measureCapacity(ctx context.Context, quick bool) (*table, error) {
	t := newTable("Capacity",
		"All permits but one are held. One caller takes the last one and gives it back, again and again: *pair* and what it costs Redis; *refused*: "+
			"`TryAcquire` when none is left; *Inspect*: the whole semaphore, with every holder; *Summaries*: its counts alone.",
		"capacity", "pair", "commands/pair", "Redis CPU/pair", "refused", "Inspect", "Summaries")
	numbers := []int{1, 100, 10_000, 100_000}
	if quick {
		numbers = []int{1, 1000}
	}
	for _, n := range numbers {
		if err := measureCapacityOf(ctx, t, n); err != nil {
			return nil, fmt.Errorf("capacity %d: %w", n, err)
		}
	}
	return t, nil
}

func measureCapacityOf(ctx context.Context, t *table, capacity int) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	server, err := redisserver.Start(ctx, proc.Anywhere)
	if err != nil {
		return err
	}
	defer server.Close("")
	var managers [2]*lease.Manager // one holds, the other measures
	var handles [2]*lease.Semaphore
	name := mark + "-capacity"
	for i := range managers {
		if managers[i], err = open(server.URL()); err != nil {
			return err
		}
		defer managers[i].Close()
		if handles[i], err = managers[i].Semaphore(lease.Config{Name: name, Capacity: capacity, TTL: time.Minute}); err != nil {
			return err
		}
	}
	var group errgroup.Group
	group.SetLimit(callers)
	for range capacity - 1 {
		group.Go(func() error {
			_, err := handles[0].Acquire(ctx)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}

	const pairs = 2000
	before, err := server.Usage(ctx)
	if err != nil {
		return err
	}
	pair, err := average(pairs, func() error {
		l, err := handles[1].Acquire(ctx)
		if err != nil {
			return err
		}
		return l.Release()
	})
	if err != nil {
		return err
	}
	after, err := server.Usage(ctx)
	if err != nil {
		return err
	}
	if _, err := handles[0].Acquire(ctx); err != nil {
		return err
	}
	refused, err := average(pairs, func() error {
		l, err := handles[1].TryAcquire(ctx)
		if err == nil {
			return errors.Join(errors.New("more permits than there are"), l.Release())
		}
		if !errors.Is(err, lease.ErrAtCapacity) {
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	inspected, err := average(10, func() error {
		state, err := managers[1].Inspect(ctx, name)
		if err == nil && len(state.Holders) != capacity {
			err = fmt.Errorf("%d holders", len(state.Holders))
		}
		return err
	})
	if err != nil {
		return err
	}
	summed, err := average(100, func() error {
		all, err := managers[1].Summaries(ctx, name)
		if err == nil && all[0].Held != capacity {
			err = fmt.Errorf("%d held", all[0].Held)
		}
		return err
	})
	if err != nil {
		return err
	}
	used := after.Since(before)
	t.add(count(capacity), duration(pair), number(float64(used.Commands)/pairs), duration(used.CPU/pairs),
		duration(refused), duration(inspected), duration(summed))
	return nil
}

// average returns how long f takes, of n times.
func average(n int, f func() error) (time.Duration, error) {
	start := proc.Now()
	for range n {
		if err := f(); err != nil {
			return 0, err
		}
	}
	return proc.Now().Sub(start) / time.Duration(n), nil
}
