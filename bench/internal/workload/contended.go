package workload

import (
	"context"
	"fmt"
	"time"

	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/proc"
	"github.com/eqworks/passbuddy/bench/internal/stats"
)

// contendingCallers is how many callers want the permits, in all processes together.
const contendingCallers = 64

// contended is workload (b): many callers for few permits.
func contended(b *Bench) Workload {
	w := Workload{
		Key:   "b",
		Title: "64 callers for few permits",
		About: "64 callers in all, evenly in 1, 4 or 16 processes that start together, acquire, hold for the length of " +
			"the section, release and ask again at once. Waits that the end cut off count with their length so far. " +
			"Permits in use: the share of the time for which somebody worked under a permit. " +
			"Changed hands: another caller than before, and another process. Jain's index goes over all callers: 1 is " +
			"even, 1/64 is one caller alone. Commands are those that Redis executed, inside scripts too. " +
			"Ratios are to BLPOP on a list of tokens.",
		Rounds: choose(b, 3, 1),
		Columns: []Column{
			{Metric: "acquires", Heading: "acquires/s", Unit: Rate, Ratio: true},
			{Metric: "used", Heading: "permits in use", Unit: Share},
			{Metric: "changed", Heading: "changed hands", Unit: Share},
			{Metric: "crossed", Heading: "changed process", Unit: Share},
			{Metric: "p50", Heading: "wait p50", Unit: Duration},
			{Metric: "p99", Heading: "wait p99", Unit: Duration, Ratio: true},
			{Metric: "max", Heading: "wait max", Unit: Duration},
			{Metric: "jain", Heading: "Jain", Unit: Index},
			{Metric: "commands", Heading: "commands/acquire"},
		},
	}
	for _, permits := range []int{1, 10} {
		for _, section := range []time.Duration{0, time.Millisecond} {
			for _, processes := range []int{1, 4, 16} {
				w.Cases = append(w.Cases, contendedCase(permits, processes, section))
			}
		}
	}
	w.Cases = append(w.Cases, contendedCase(10, 4, 100*time.Millisecond))
	return w
}

func contendedCase(permits, processes int, section time.Duration) Case {
	of := map[int]string{1: "one permit", 10: "ten permits"}[permits]
	in := fmt.Sprintf("%d processes", processes)
	if processes == 1 {
		in = "1 process"
	}
	holding := "empty section"
	if section > 0 {
		holding = fmt.Sprintf("%d ms section", section.Milliseconds())
	}
	c := Case{
		Key:      fmt.Sprintf("b/%d/%dms/%d", permits, section.Milliseconds(), processes),
		Title:    fmt.Sprintf("%s, %s, %s", of, holding, in),
		Baseline: "blpop",
		Remarks:  map[string]string{},
		measure: func(ctx context.Context, b *Bench, c contender.Contender) (Metrics, error) {
			return measureContended(ctx, b, c, permits, processes, section)
		},
	}
	for _, key := range []string{"blpop", "passbuddy", "setnx", "sortedset", "rueidislock-1", "rueidislock", "redsync", "redislock", "local"} {
		who, _ := contender.Find(key)
		switch {
		case who.OneHost && processes > 1: // it has no part in this
		case who.LockOnly && permits > 1:
			c.Remarks[key] = "a lock"
		default:
			c.Contenders = append(c.Contenders, key)
		}
	}
	return c
}

type contendedArgs struct {
	side
	Capacity int
	Section  time.Duration
	Process  int    // from 0
	Page     string // path of the shared page
}

// Words of the shared page.
const (
	wordInside = iota
	wordLast
	wordMost
	wordReleased // handover only, from here on
	wordHolder
	wordWaiting
	wordSamples
)

// watch returns the watch on a shared page, which counts until stop.
func watch(page *proc.Page, capacity int, stop proc.Instant) *stats.Watch {
	return &stats.Watch{
		Capacity: int64(capacity),
		Inside:   page.Word(wordInside),
		Last:     page.Word(wordLast),
		Most:     page.Word(wordMost),
		Counts:   func() bool { return proc.Now() < stop },
	}
}

// A ViolationError says that more callers held permits than there are.
type ViolationError struct{ Held, Capacity int64 }

func (e *ViolationError) Error() string {
	return fmt.Sprintf("CAPACITY VIOLATED: %d held at once, %d allowed", e.Held, e.Capacity)
}

func violation(w *stats.Watch) error {
	if w.Violated() {
		return &ViolationError{w.Most.Load(), w.Capacity}
	}
	return nil
}

func measureContended(ctx context.Context, b *Bench, c contender.Contender, permits, processes int, section time.Duration) (Metrics, error) {
	d := choose(b, 2*time.Second, 150*time.Millisecond)
	ctx, cancel := context.WithTimeout(ctx, d+overhead)
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
	if err := prepare(ctx, c, server.URL(), name, permits); err != nil {
		return nil, err
	}
	work := make([]proc.Work, processes)
	for i := range work {
		options := contender.Options{URL: server.URL(), Callers: contendingCallers / processes}
		work[i] = proc.Work{
			Kind:  "contended",
			Args:  contendedArgs{side{c.Key, options, name}, permits, section, i, path},
			Core:  proc.Anywhere,
			Limit: d + overhead,
		}
	}
	team, err := proc.StartTeam(work)
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
	window, err := team.Go(d)
	if err != nil {
		return nil, err
	}
	proc.SleepUntil(window.Stop)
	after, err := server.Usage(ctx)
	if err != nil {
		return nil, err
	}
	results, err := proc.Results[contendedResult](ctx, team)
	if err != nil {
		return nil, err
	}
	if err := violation(watch(page, permits, window.Stop)); err != nil {
		return nil, err
	}
	m, err := contendedMetrics(results, d)
	if err == nil && !c.OneHost {
		m["commands"] = float64(after.Since(before).Commands) / (m["acquires"] * d.Seconds())
	}
	if err == nil && section > 0 {
		m["used"] = m["worked"] / float64(permits)
	}
	delete(m, "worked")
	if processes == 1 {
		delete(m, "crossed")
	}
	return m, err
}
