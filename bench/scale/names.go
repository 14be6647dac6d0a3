package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/eqworks/passbuddy/bench/internal/proc"
	"github.com/eqworks/passbuddy/lease"
)

// callers is how many acquire at a time, where names and leases are many.
const callers = 64

type namesArgs struct {
	URL   string
	Names int
}

type namesResult struct {
	Took, CPU time.Duration // for an acquire and a release of each name
	Handles   int64         // bytes that the handles take
	Used      int64         // and what the manager keeps of the names beside them, right after
}

// measureNames acquires and releases a permit of each of more and more names.
func measureNames(ctx context.Context, quick bool) (*table, error) {
	t := newTable("Names",
		fmt.Sprintf("One process makes a handle of each name, and %d callers acquire and release a permit of each once. *memory/handle*: of "+
			"a `Semaphore`; *kept after use*: what the manager has beside all handles, right after. *Redis memory/name*: what is left there, for a day: "+
			"the token that the next grant must exceed.", callers),
		"names", "pairs/s", "client CPU/pair", "Redis CPU/pair", "memory/handle", "kept after use", "Redis memory/name")
	numbers := []int{1, 100, 10_000, 100_000, 1_000_000}
	if quick {
		numbers = []int{1, 1000}
	}
	for _, n := range numbers {
		if err := measureNamesOf(ctx, t, n); err != nil {
			return nil, fmt.Errorf("%d names: %w", n, err)
		}
	}
	return t, nil
}

func measureNamesOf(ctx context.Context, t *table, names int) error {
	ctx, b, err := begin(ctx, "names", func(url string) []namesArgs { return []namesArgs{{url, names}} })
	if err != nil {
		return err
	}
	defer b.end()
	memory, err := b.server.Memory(ctx)
	if err != nil {
		return err
	}
	before, err := b.server.Usage(ctx)
	if err != nil {
		return err
	}
	if _, err := b.team.Go(0); err != nil {
		return err
	}
	results, err := proc.Results[namesResult](ctx, b.team)
	if err != nil {
		return err
	}
	after, err := b.server.Usage(ctx)
	if err != nil {
		return err
	}
	full, err := b.server.Memory(ctx)
	if err != nil {
		return err
	}
	r, used := results[0], after.Since(before)
	pairs := max(names, fewest)
	t.add(count(names), number(float64(pairs)/r.Took.Seconds()), duration(r.CPU/time.Duration(pairs)), duration(used.CPU/time.Duration(pairs)),
		bytesOf(r.Handles, names), bytesOf(max(r.Used, 0), 1), bytesOf(max(full-memory, 0), names))
	return nil
}

// fewest is how many pairs are measured at least: few names are used several times.
const fewest = 20_000

func namesChild(line *proc.Child, args namesArgs) error {
	m, err := open(args.URL)
	if err != nil {
		return err
	}
	if err := m.Ping(context.Background()); err != nil {
		return err
	}
	all := make([]*lease.Semaphore, args.Names)
	empty := heap()
	for i := range all {
		if all[i], err = m.Semaphore(lease.Config{Name: fmt.Sprintf("%s-%d", mark, i), Capacity: callers}); err != nil {
			return err
		}
	}
	var r namesResult
	r.Handles = heap() - empty
	if _, err := line.Ready(); err != nil {
		return err
	}
	start, cpu := proc.Now(), proc.CPU()
	var group errgroup.Group
	for worker := range callers {
		group.Go(func() error {
			for i := worker; i < max(args.Names, fewest); i += callers {
				l, err := all[i%args.Names].Acquire(context.Background())
				if err != nil {
					return err
				}
				if err := l.Release(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	r.Took, r.CPU = proc.Now().Sub(start), proc.CPU()-cpu
	r.Used = heap() - empty - r.Handles
	runtime.KeepAlive(all)
	return line.Send(r)
}
