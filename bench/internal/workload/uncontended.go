package workload

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/proc"
	"github.com/eqworks/passbuddy/bench/internal/stats"
	"golang.org/x/sync/errgroup"
)

// maxPairs bounds a caller's work in one measurement, whatever its speed.
const maxPairs = 20_000_000

// uncontended is workload (a): acquire and release, one after the other, by callers that each have a
// semaphore of their own.
func uncontended(b *Bench) Workload {
	w := Workload{
		Key:   "a",
		Title: "Acquire and release, nobody waits",
		About: "One process. Each caller acquires and releases a permit of a name of its own, again and again. " +
			"A pair is one acquire and one release. Ratios are to two plain EVALSHA of go-redis.",
		Rounds: choose(b, 5, 1),
		Columns: []Column{
			{Metric: "pairs", Heading: "pairs/s", Unit: Rate, Ratio: true},
			{Metric: "p50", Heading: "pair p50", Unit: Duration},
			{Metric: "p99", Heading: "pair p99", Unit: Duration},
			{Metric: "allocs", Heading: "allocations/pair"},
			{Metric: "client", Heading: "client CPU/pair", Unit: Duration},
			{Metric: "server", Heading: "server CPU/pair", Unit: Duration},
			{Metric: "commands", Heading: "commands/pair"},
		},
	}
	limiters := []string{"two-evalsha", "passbuddy", "passbuddy-linger", "sortedset", "blpop", "local"}
	everyone := []string{"two-evalsha", "passbuddy-background", "passbuddy", "passbuddy-linger", "setnx", "sortedset", "blpop",
		"rueidislock-1", "rueidislock", "redsync", "redislock", "local"}
	add := func(setting, title string, callers, core int) {
		w.Cases = append(w.Cases, Case{
			Key: "a/" + setting, Title: title, Contenders: everyone, Baseline: "two-evalsha",
			measure: func(ctx context.Context, b *Bench, c contender.Contender) (Metrics, error) {
				return measureUncontended(ctx, b, c, uncontendedArgs{Callers: callers}, core)
			},
		})
	}
	add("pinned", "1 caller, client and server pinned to one core", 1, 0)
	switch pinned := &w.Cases[0]; {
	case b.URL != "":
		pinned.Skip = "it needs a server of its own"
	case runtime.GOOS != "linux":
		pinned.Skip = proc.ErrNoPinning.Error()
	}
	add("1", "1 caller", 1, proc.Anywhere)
	add("16", "16 callers", 16, proc.Anywhere)
	add("256", "256 callers", 256, proc.Anywhere)
	limited := Case{
		Key: "a/limit", Title: "a limit on a request path: 16 callers of one name with 64 permits", Baseline: "two-evalsha",
		Contenders: limiters, Remarks: map[string]string{},
		measure: func(ctx context.Context, b *Bench, c contender.Contender) (Metrics, error) {
			return measureUncontended(ctx, b, c, uncontendedArgs{Callers: 16, Permits: 64}, proc.Anywhere)
		},
	}
	for _, key := range everyone {
		if who, _ := contender.Find(key); who.LockOnly {
			limited.Remarks[key] = "a lock"
		}
	}
	w.Cases = append(w.Cases, limited)
	return w
}

type uncontendedArgs struct {
	side
	Callers int
	Permits int // of the one name that all callers use; 0: each has a name of its own
}

func measureUncontended(ctx context.Context, b *Bench, c contender.Contender, args uncontendedArgs, core int) (Metrics, error) {
	d := choose(b, time.Second, 80*time.Millisecond)
	ctx, cancel := context.WithTimeout(ctx, d+overhead)
	defer cancel()
	server, err := b.server(ctx, core)
	if err != nil {
		return nil, err
	}
	defer server.Close(b.Mark)
	args.side = side{c.Key, contender.Options{URL: server.URL(), Callers: args.Callers}, b.name()}
	team, err := proc.StartTeam([]proc.Work{{
		Kind:  "uncontended",
		Args:  args,
		Core:  core,
		Limit: d + overhead,
	}})
	if err != nil {
		return nil, err
	}
	defer team.Close()
	if err := team.Ready(ctx); err != nil {
		return nil, err
	}
	before, err := server.Usage(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := team.Go(d); err != nil {
		return nil, err
	}
	results, err := proc.Results[uncontendedResult](ctx, team)
	if err != nil {
		return nil, err
	}
	after, err := server.Usage(ctx)
	if err != nil {
		return nil, err
	}
	r, used := results[0], after.Since(before)
	if r.Pairs == 0 {
		return nil, errors.New("not one pair in time")
	}
	pairs := float64(r.Pairs)
	m := Metrics{
		"pairs":  pairs / r.Elapsed.Seconds(),
		"p50":    float64(r.P50),
		"p99":    float64(r.P99),
		"allocs": float64(r.Allocs) / pairs,
		"client": float64(r.CPU) / pairs,
	}
	if !c.OneHost {
		m["server"] = float64(used.CPU) / pairs
		m["commands"] = float64(used.Commands) / pairs
	}
	return m, nil
}

type uncontendedResult struct {
	Pairs    int64
	Elapsed  time.Duration
	Allocs   uint64
	CPU      time.Duration
	P50, P99 time.Duration
}

func uncontendedChild(line *proc.Child, s uncontendedArgs) error {
	c, client, err := s.open()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	semaphores, err := s.semaphores(ctx, c, client, s.Options.Callers)
	if err != nil {
		return err
	}
	if s.Permits > 0 {
		if err := prepare(ctx, c, s.Options.URL, s.Name, s.Permits); err != nil {
			return err
		}
		one, err := client.Semaphore(s.Name, s.Permits)
		if err != nil {
			return err
		}
		for i := range semaphores {
			semaphores[i] = one
		}
	}
	waits := make([]*stats.Waits, len(semaphores))
	for i := range waits {
		waits[i] = stats.NewWaits()
	}
	runtime.GC()
	w, err := line.Ready()
	if err != nil {
		return err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu := proc.CPU()
	var r uncontendedResult
	var group errgroup.Group
	var pairs atomic.Int64
	for i, semaphore := range semaphores {
		group.Go(func() error {
			n, err := callAgainAndAgain(ctx, semaphore, waits[i], w.Stop)
			pairs.Add(n)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	r.Elapsed = proc.Now().Sub(w.Start)
	r.CPU = proc.CPU() - cpu
	runtime.ReadMemStats(&after)
	r.Pairs, r.Allocs = pairs.Load(), after.Mallocs-before.Mallocs
	for _, other := range waits[1:] {
		waits[0].Merge(other)
	}
	r.P50, r.P99 = waits[0].Percentile(50), waits[0].Percentile(99)
	return line.Send(r)
}

// callAgainAndAgain is one caller. It returns how many pairs it made until stop.
func callAgainAndAgain(ctx context.Context, semaphore contender.Semaphore, waits *stats.Waits, stop proc.Instant) (int64, error) {
	now := proc.Now()
	for n := int64(0); ; n++ {
		if now >= stop || n == maxPairs {
			return n, nil
		}
		permit, err := semaphore.Acquire(ctx)
		if err != nil {
			return n, fmt.Errorf("acquire: %w", err)
		}
		if err := permit.Release(); err != nil {
			return n, fmt.Errorf("release: %w", err)
		}
		done := proc.Now()
		waits.Add(done.Sub(now))
		now = done
	}
}
