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

type leasesArgs struct {
	URL           string
	Leases, Names int
	Length        time.Duration
}

type leasesResult struct {
	CPU   time.Duration
	Bytes int64 // of all leases
	Lost  int
}

// measureLeases holds more and more leases, of one name and each of its own, with the default TTL.
func measureLeases(ctx context.Context, quick bool) (*table, error) {
	t := newTable("Leases held",
		"One process holds all leases, with the default TTL of 15 s: each is renewed about every five seconds. Figures are of 15 seconds; CPU is in "+
			"percent of one core. *lost*: leases that ended although nothing was wrong.",
		"leases", "names", "client CPU", "Redis CPU", "commands/s", "memory/lease", "Redis memory/lease", "lost")
	numbers, d := []int{100, 1000, 10_000, 100_000}, 15*time.Second
	if quick {
		numbers, d = []int{100, 1000}, time.Second
	}
	for _, own := range []bool{false, true} {
		for _, n := range numbers {
			names := 1
			if own {
				names = n
			}
			if err := measureLeasesOf(ctx, t, leasesArgs{Leases: n, Names: names, Length: d}); err != nil {
				return nil, fmt.Errorf("%d leases of %d names: %w", n, names, err)
			}
		}
	}
	return t, nil
}

func measureLeasesOf(ctx context.Context, t *table, args leasesArgs) error {
	var empty int64
	ctx, b, err := begin(ctx, "leases", func(url string) []leasesArgs {
		args.URL = url
		return []leasesArgs{args}
	})
	if err != nil {
		return err
	}
	defer b.end()
	window, err := b.team.Go(args.Length)
	if err != nil {
		return err
	}
	proc.SleepUntil(window.Start)
	used, err := b.during(ctx, args.Length)
	if err != nil {
		return err
	}
	full, err := b.server.Memory(ctx)
	if err != nil {
		return err
	}
	results, err := proc.Results[leasesResult](ctx, b.team)
	if err != nil {
		return err
	}
	if err := b.server.Client().FlushAll(ctx).Err(); err != nil {
		return err
	}
	if empty, err = b.server.Memory(ctx); err != nil {
		return err
	}
	r := results[0]
	t.add(count(args.Leases), count(args.Names), share(r.CPU, args.Length), share(used.CPU, args.Length),
		number(float64(used.Commands)/args.Length.Seconds()), bytesOf(r.Bytes, args.Leases), bytesOf(max(full-empty, 0), args.Leases), count(r.Lost))
	return nil
}

func leasesChild(line *proc.Child, args leasesArgs) error {
	m, err := open(args.URL)
	if err != nil {
		return err
	}
	if err := m.Ping(context.Background()); err != nil {
		return err
	}
	empty := heap()
	all := make([]*lease.Semaphore, args.Names)
	for i := range all {
		if all[i], err = m.Semaphore(lease.Config{Name: fmt.Sprintf("%s-%d", mark, i), Capacity: args.Leases / args.Names}); err != nil {
			return err
		}
	}
	held := make([]*lease.Lease, args.Leases)
	var group errgroup.Group
	for worker := range callers {
		group.Go(func() error {
			for i := worker; i < len(held); i += callers {
				var err error
				if held[i], err = all[i%args.Names].Acquire(context.Background()); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	var r leasesResult
	r.Bytes = heap() - empty
	window, err := line.Ready()
	if err != nil {
		return err
	}
	cpu := proc.CPU()
	proc.SleepUntil(window.Stop)
	r.CPU = proc.CPU() - cpu
	for _, l := range held {
		if l.Err() != nil {
			r.Lost++
		}
	}
	if err := line.Send(r); err != nil {
		return err
	}
	runtime.KeepAlive(held)
	return nil
}
