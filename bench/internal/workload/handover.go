package workload

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/proc"
	"github.com/eqworks/passbuddy/bench/internal/stats"
)

// handover is workload (c): how long a permit takes from one process to the other.
func handover(b *Bench) Workload {
	w := Workload{
		Key:   "c",
		Title: "Hand-over between two processes",
		About: "One permit, two processes with one caller each: one holds, the other waits. Measured from the call of " +
			"Release until the other holds, 200 times in all. The holder releases at a random moment of the other's " +
			"polling. Busy: both processes also send PING, one after another, over a connection of their own. " +
			"Ratios are to BLPOP.",
		Rounds: choose(b, 4, 1),
		Columns: []Column{
			{Metric: "p50", Heading: "p50", Unit: Duration, Ratio: true},
			{Metric: "p90", Heading: "p90", Unit: Duration},
			{Metric: "max", Heading: "max", Unit: Duration},
			{Metric: "samples", Heading: "samples/round"},
		},
	}
	for _, busy := range []bool{false, true} {
		c := Case{
			Key: "c/idle", Title: "idle processes", Baseline: "blpop",
			Contenders: []string{"blpop", "passbuddy", "setnx", "sortedset", "rueidislock-1", "rueidislock", "redsync", "redislock"},
			measure: func(ctx context.Context, b *Bench, c contender.Contender) (Metrics, error) {
				return measureHandover(ctx, b, c, busy)
			},
		}
		if busy {
			c.Key, c.Title = "c/busy", "busy processes"
		}
		w.Cases = append(w.Cases, c)
	}
	return w
}

type handoverArgs struct {
	side
	Process int // 0 or 1
	Page    string
	Samples int // of both processes together
	Busy    bool
	Shortest,
	Longest time.Duration // that a holder lets the other wait
}

func measureHandover(ctx context.Context, b *Bench, c contender.Contender, busy bool) (Metrics, error) {
	samples, limit := choose(b, 50, 10), choose(b, 20*time.Second, 2*time.Second)
	ctx, cancel := context.WithTimeout(ctx, limit+overhead)
	defer cancel()
	server, err := b.server(ctx, proc.Anywhere)
	if err != nil {
		return nil, err
	}
	defer server.Close(b.Mark)
	page, path, remove, err := proc.TempPage()
	if err != nil {
		return nil, err
	}
	defer remove()
	name := b.name()
	if err := prepare(ctx, c, server.URL(), name, 1); err != nil {
		return nil, err
	}
	const queued = 10 * time.Millisecond
	var work []proc.Work
	for i := range 2 {
		work = append(work, proc.Work{
			Kind: "handover",
			Args: handoverArgs{
				side:    side{c.Key, contender.Options{URL: server.URL(), Callers: 1}, name},
				Process: i, Page: path, Samples: samples, Busy: busy,
				Shortest: queued, Longest: queued + max(c.Poll, queued),
			},
			Core:  proc.Anywhere,
			Limit: limit + overhead,
		})
	}
	team, err := proc.StartTeam(work)
	if err != nil {
		return nil, err
	}
	defer team.Close()
	if err := team.Ready(ctx); err != nil {
		return nil, err
	}
	window, err := team.Go(limit)
	if err != nil {
		return nil, err
	}
	results, err := proc.Results[[]float64](ctx, team)
	if err != nil {
		return nil, err
	}
	if err := violation(watch(page, 1, window.Stop)); err != nil {
		return nil, err
	}
	took := slices.Concat(results...)
	if len(took) == 0 {
		return nil, errors.New("not one hand-over in time")
	}
	return Metrics{
		"p50":     stats.Percentile(took, 50),
		"p90":     stats.Percentile(took, 90),
		"max":     slices.Max(took),
		"samples": float64(len(took)),
	}, nil
}
