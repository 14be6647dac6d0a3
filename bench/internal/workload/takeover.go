package workload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/proc"
	"github.com/eqworks/passbuddy/bench/internal/redisserver"
	"github.com/eqworks/passbuddy/bench/internal/stats"
)

const (
	// takeoverSamples is how many holders crash at a time, each with a server of its own.
	takeoverSamples = 4
	// takeoverLimit is how long a waiter waits for the permit of a holder that has crashed.
	takeoverLimit = 10 * time.Second
)

// takeover is workload (g): a holder crashes, and another process waits for its permit.
func takeover(b *Bench) Workload {
	ttl := choose(b, lossTTL, lossTTL/4)
	w := Workload{
		Key:   "g",
		Title: fmt.Sprintf("A holder crashes, with a lease of %v", ttl),
		About: fmt.Sprintf("One process holds the only permit, and another one waits for it. The holder is killed (SIGKILL) at a random moment. "+
			"Measured from there until the other holds. Who renews its lease keeps it for up to %v after that; who does not has lost some of it "+
			"before, and would have lost all of it in longer work. Never: not within %v.", ttl, takeoverLimit),
		Rounds: choose(b, 3, 1),
		Columns: []Column{
			{Metric: "p50", Heading: "p50", Unit: Duration},
			{Metric: "max", Heading: "longest", Unit: Duration, Fold: Most},
			{Metric: "never", Heading: "never", Fold: Total},
		},
	}
	c := Case{
		Key: "g/crash", Title: "until the next one holds", Remarks: map[string]string{},
		measure: func(ctx context.Context, b *Bench, c contender.Contender) (Metrics, error) {
			return measureTakeover(ctx, b, c, ttl)
		},
		Contenders: []string{"passbuddy", "setnx", "sortedset", "rueidislock-1", "rueidislock", "redsync", "redislock"},
	}
	c.Remarks["blpop"] = "never: no expiry"
	if b.URL != "" {
		c.Skip = "it needs servers of its own"
	}
	w.Cases = []Case{c}
	return w
}

// measureTakeover has holders crash, all at the same time.
func measureTakeover(ctx context.Context, b *Bench, c contender.Contender, ttl time.Duration) (Metrics, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*takeoverLimit+overhead)
	defer cancel()
	took := make([]time.Duration, takeoverSamples)
	var group errgroup.Group
	for i := range took {
		name := b.name()
		group.Go(func() (err error) {
			took[i], err = takeOverOne(ctx, c, name, ttl)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	m := Metrics{"never": 0}
	var times []float64
	for _, d := range took {
		if d == 0 {
			m["never"]++
		} else {
			times = append(times, float64(d))
		}
	}
	if len(times) > 0 {
		m["p50"], m["max"] = stats.Median(times), slices.Max(times)
	}
	return m, nil
}

// takeOverOne returns how long after the crash the waiter holds; 0: it does not.
func takeOverOne(ctx context.Context, c contender.Contender, name string, ttl time.Duration) (time.Duration, error) {
	server, err := redisserver.Start(ctx, proc.Anywhere)
	if err != nil {
		return 0, err
	}
	defer server.Close("")
	if err := prepare(ctx, c, server.URL(), name, 1); err != nil {
		return 0, err
	}
	var sides [2]proc.Team // who holds, who waits
	for i := range sides {
		sides[i], err = proc.StartTeam([]proc.Work{{
			Kind:  "takeover",
			Args:  side{c.Key, contender.Options{URL: server.URL(), Callers: 1, TTL: ttl}, name},
			Core:  proc.Anywhere,
			Limit: 2*takeoverLimit + overhead,
		}})
		if err != nil {
			return 0, err
		}
		defer sides[i].Close()
		if err := sides[i].Ready(ctx); err != nil {
			return 0, err
		}
		if _, err := sides[i].Go(0); err != nil { // it acquires
			return 0, err
		}
		if i == 0 {
			var got proc.Instant
			if err := sides[0][0].Receive(ctx, &got); err != nil {
				return 0, err
			}
		}
	}
	time.Sleep(ttl/4 + rand.N(ttl/2)) // the other waits by then; whoever does not renew still holds
	crashed := proc.Now()
	sides[0].Close()
	wait, stop := context.WithTimeoutCause(ctx, takeoverLimit, errNever)
	defer stop()
	var got proc.Instant
	switch err := sides[1][0].Receive(wait, &got); {
	case errors.Is(err, errNever):
		return 0, nil
	case err != nil:
		return 0, err
	case got < crashed:
		return 0, errors.New("the waiter held while the holder did")
	}
	return got.Sub(crashed), nil
}

// takeoverChild acquires the permit, says when, and keeps it.
func takeoverChild(line *proc.Child, s side) error {
	_, client, err := s.open()
	if err != nil {
		return err
	}
	semaphore, err := client.Semaphore(s.Name, 1)
	if err != nil {
		return err
	}
	if _, err := line.Ready(); err != nil {
		return err
	}
	if _, err := semaphore.Acquire(context.Background()); err != nil {
		return err
	}
	return line.Send(proc.Now())
}
