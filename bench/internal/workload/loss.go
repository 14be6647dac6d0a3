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
	lossTTL = 2 * time.Second
	// shortPause is trouble that should cost nobody a lease of two seconds.
	shortPause = 500 * time.Millisecond
	// patience is how long after the expiry a holder may still be told.
	patience = 5 * time.Second
	// lossSamples is how many leases meet each fault at a time, each on a server of its own.
	lossSamples = 2
)

// A fault is what happens to the server under a held lease.
type fault struct {
	key    string
	strike func(ctx context.Context, s *redisserver.Server, keys []string) error
	harm   bool // the lease is lost by it
}

var faults = []fault{
	{"stop", func(_ context.Context, s *redisserver.Server, _ []string) error { return s.Process().Pause() }, true},
	{"kill", func(_ context.Context, s *redisserver.Server, _ []string) error {
		s.Process().Kill()
		return nil
	}, true},
	{"delete", func(ctx context.Context, s *redisserver.Server, keys []string) error {
		return s.Client().Del(ctx, keys...).Err()
	}, true},
	{"pause", func(_ context.Context, s *redisserver.Server, _ []string) error {
		if err := s.Process().Pause(); err != nil {
			return err
		}
		time.Sleep(shortPause)
		return s.Process().Resume()
	}, false},
}

// loss is workload (e): what the holder of a lost lease is told, and when.
func loss(b *Bench) Workload {
	w := Workload{
		Key:   "e",
		Title: "Loss of a lease of 2 s",
		About: fmt.Sprintf("Under a held lease, at a random moment between two renewals, the server is stopped (SIGSTOP), killed "+
			"(SIGKILL), loses the key (DEL), or is stopped for %v only. When the holder is told is relative to the "+
			"moment at which the server gives the permit away: when the lease would expire, or, of a deleted key, the "+
			"deletion. Negative is before. In time is the share of holders that were told "+
			"before. A false alarm is a lease that ended before the fault, or by the short stop.", shortPause),
		Rounds: choose(b, 10, 1),
		Columns: []Column{
			{Metric: "stop", Heading: "SIGSTOP: told", Unit: Duration},
			{Metric: "stopLate", Heading: "latest", Unit: Duration, Fold: Most},
			{Metric: "stopInTime", Heading: "in time", Unit: Share, Fold: Mean},
			{Metric: "kill", Heading: "SIGKILL: told", Unit: Duration},
			{Metric: "killLate", Heading: "latest", Unit: Duration, Fold: Most},
			{Metric: "killInTime", Heading: "in time", Unit: Share, Fold: Mean},
			{Metric: "delete", Heading: "DEL: told after", Unit: Duration},
			{Metric: "deleteLate", Heading: "latest", Unit: Duration, Fold: Most},
			{Metric: "never", Heading: "never told", Fold: Total},
			{Metric: "falseAlarms", Heading: "false alarms", Fold: Total},
		},
	}
	c := Case{Key: "e/loss", Title: "the holder is told", Remarks: map[string]string{}, measure: measureLoss}
	for _, key := range []string{"passbuddy", "rueidislock-1", "rueidislock", "setnx", "sortedset", "blpop", "redsync", "redislock"} {
		if who, _ := contender.Find(key); who.Tells {
			c.Contenders = append(c.Contenders, key)
		} else {
			c.Remarks[key] = "never told"
		}
	}
	if b.URL != "" {
		c.Skip = "it needs servers of its own to stop and kill"
	}
	w.Cases = []Case{c}
	return w
}

// told is what one holder met.
type told struct {
	fault      string
	after      time.Duration // the permit's expiry or deletion; negative: before
	never      bool
	falseAlarm bool
}

// measureLoss has every fault happen to lossSamples leases, all at the same time.
func measureLoss(ctx context.Context, b *Bench, c contender.Contender) (Metrics, error) {
	ctx, cancel := context.WithTimeout(ctx, 4*lossTTL+patience+overhead)
	defer cancel()
	all := make([]told, lossSamples*len(faults))
	var group errgroup.Group
	for i := range all {
		f, name := faults[i%len(faults)], b.name()
		group.Go(func() (err error) {
			all[i], err = loseOne(ctx, c, f, name)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return lossMetrics(all), nil
}

func lossMetrics(all []told) Metrics {
	m := Metrics{"never": 0, "falseAlarms": 0}
	for _, f := range faults {
		var after []float64
		samples, inTime := 0, 0
		for _, t := range all {
			if t.fault != f.key {
				continue
			}
			samples++
			switch {
			case t.falseAlarm:
				m["falseAlarms"]++
			case !f.harm:
			case t.never:
				m["never"]++
			default:
				after = append(after, float64(t.after))
				if t.after <= 0 {
					inTime++
				}
			}
		}
		if len(after) > 0 {
			m[f.key] = stats.Median(after)
			m[f.key+"Late"] = slices.Max(after)
		}
		if f.harm && samples > 0 {
			m[f.key+"InTime"] = float64(inTime) / float64(samples)
		}
	}
	return m
}

// loseOne has a child hold a lease on a server of its own, and strikes.
func loseOne(ctx context.Context, c contender.Contender, f fault, name string) (told, error) {
	t := told{fault: f.key}
	server, err := redisserver.Start(ctx, proc.Anywhere)
	if err != nil {
		return t, err
	}
	defer server.Close("")
	team, err := proc.StartTeam([]proc.Work{{
		Kind:  "loss",
		Args:  side{c.Key, contender.Options{URL: server.URL(), Callers: 1, TTL: lossTTL}, name},
		Core:  proc.Anywhere,
		Limit: 4*lossTTL + patience + overhead,
	}})
	if err != nil {
		return t, err
	}
	defer team.Close()
	if err := team.Ready(ctx); err != nil {
		return t, err
	}
	// The window only has the child hold: it ends when it is closed.
	if _, err := team.Go(0); err != nil {
		return t, err
	}
	expiry, err := justRenewed(ctx, c, server.URL(), name)
	if err != nil {
		return t, err
	}
	if f.key == "delete" {
		expiry = proc.Now()
	}
	struck := proc.Now()
	if err := f.strike(ctx, server, c.Keys(name)); err != nil {
		return t, err
	}
	last := expiry.Add(patience)
	if !f.harm {
		last = struck.Add(shortPause + lossTTL)
	}
	wait, stop := context.WithTimeoutCause(ctx, proc.Until(last), errNever)
	defer stop()
	var at proc.Instant
	switch err := team[0].Receive(wait, &at); {
	case errors.Is(err, errNever):
		t.never = true
	case err != nil:
		return t, err
	default:
		t.after = at.Sub(expiry)
		t.falseAlarm = at < struck || !f.harm
	}
	return t, nil
}

var errNever = errors.New("never told")

// justRenewed returns the expiry of the lease, at a random moment soon after a renewal: none is due in
// the next instants, so that no later expiry can slip in between the reading and the fault.
func justRenewed(ctx context.Context, c contender.Contender, url, name string) (proc.Instant, error) {
	first, err := c.Expiry(ctx, url, name)
	if err != nil {
		return 0, err
	}
	expiry := first
	// What is read as time to live is a millisecond off now and then.
	for expiry.Sub(first) < lossTTL/20 {
		if err := ctx.Err(); err != nil {
			return 0, fmt.Errorf("no renewal: %w", err)
		}
		time.Sleep(5 * time.Millisecond)
		if expiry, err = c.Expiry(ctx, url, name); err != nil {
			return 0, err
		}
	}
	time.Sleep(rand.N(lossTTL / 6))
	if expiry, err = c.Expiry(ctx, url, name); err != nil {
		return 0, err
	}
	return proc.Now().Add(time.Until(expiry)), nil
}

// lossChild holds a lease and says when it is told that it is lost.
func lossChild(line *proc.Child, s side) error {
	_, client, err := s.open()
	if err != nil {
		return err
	}
	semaphore, err := client.Semaphore(s.Name, 1)
	if err != nil {
		return err
	}
	permit, err := semaphore.Acquire(context.Background())
	if err != nil {
		return err
	}
	lost := permit.Lost()
	if _, err := line.Ready(); err != nil {
		return err
	}
	<-lost
	return line.Send(proc.Now())
}
