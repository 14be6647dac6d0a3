// Package workload has what is measured. Each workload is a file: what its cases are, what the parent
// does for one measurement, and what the children do.
package workload

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/proc"
	"github.com/eqworks/passbuddy/bench/internal/redisserver"
)

// Metrics are the figures of one measurement, by name. Times are in nanoseconds, shares from 0 to 1.
type Metrics map[string]float64

// A Workload is a set of cases with the same figures.
type Workload struct {
	Key     string // a to f
	Title   string
	About   string // how it is measured, for readers of the report
	Rounds  int
	Columns []Column
	Cases   []Case
}

// A Column shows one figure in the tables.
type Column struct {
	Metric  string
	Heading string
	Unit    Unit
	Ratio   bool // the ratio to the baseline follows
	Fold    Fold
}

// A Fold says what a cell shows of several rounds.
type Fold int

// The folds.
const (
	Middle Fold = iota // the median, the smallest and the largest
	Most               // the largest
	Total              // the sum
	Mean
)

// A Unit says how a figure is written.
type Unit int

// The units.
const (
	Number   Unit = iota // three digits
	Rate                 // per second
	Duration             // nanoseconds
	Share                // 0 to 1, shown in percent
	Bytes
	Index // 0 to 1
)

// A Case is one setting of a workload, measured for each of its contenders in each round.
type Case struct {
	Key        string // <workload>/<setting>
	Title      string
	Contenders []string
	Baseline   string            // whose figures of the same round the ratios are to; empty: no ratios
	Remarks    map[string]string // contenders that cannot be measured, and why
	Skip       string            // why nothing is measured here; empty: it is

	measure func(ctx context.Context, b *Bench, c contender.Contender) (Metrics, error)
}

// Measure measures one contender once. It starts all that it needs and ends it again.
func (c *Case) Measure(ctx context.Context, b *Bench, contenderKey string) (Metrics, error) {
	who, err := contender.Find(contenderKey)
	if err != nil {
		return nil, err
	}
	return c.measure(ctx, b, who)
}

// A Bench is what all measurements have in common.
type Bench struct {
	URL   string // of a Redis that runs anyway; empty: each measurement starts its own
	Quick bool
	Mark  string // in every name, so that what is left can be found

	names int
}

// name returns a name that no other measurement uses.
func (b *Bench) name() string {
	b.names++
	return fmt.Sprintf("%s-%d", b.Mark, b.names)
}

// server starts a server, or connects to the one that runs anyway.
func (b *Bench) server(ctx context.Context, core int) (*redisserver.Server, error) {
	if b.URL != "" {
		return redisserver.Use(ctx, b.URL)
	}
	return redisserver.Start(ctx, core)
}

// choose returns quick in a quick run, full otherwise.
func choose[T any](b *Bench, full, quick T) T {
	if b.Quick {
		return quick
	}
	return full
}

// All returns the workloads.
func All(b *Bench) []Workload {
	return []Workload{
		uncontended(b),
		contended(b),
		handover(b),
		held(b),
		loss(b),
		limit(b),
		takeover(b),
	}
}

// Children are the kinds of work that child processes do, for proc.RunIfChild.
func Children() map[string]func(*proc.Child, json.RawMessage) error {
	return map[string]func(*proc.Child, json.RawMessage) error{
		"uncontended": proc.Kind(uncontendedChild),
		"contended":   proc.Kind(contendedChild),
		"handover":    proc.Kind(handoverChild),
		"held":        proc.Kind(heldChild),
		"loss":        proc.Kind(lossChild),
		"limit":       proc.Kind(limitChild),
		"takeover":    proc.Kind(takeoverChild),
	}
}

// overhead is what a measurement may take beside the time that it measures for.
const overhead = 45 * time.Second
