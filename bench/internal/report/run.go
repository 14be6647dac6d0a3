// Package report turns measurements into a Markdown page and plots.
package report

import (
	"encoding/json"
	"os"
	"slices"
	"time"

	"github.com/eqworks/passbuddy/bench/internal/stats"
	"github.com/eqworks/passbuddy/bench/internal/workload"
)

// A Run is one run of the benchmark: what is kept of it, as raw results.
type Run struct {
	Started  time.Time
	Took     time.Duration
	Quick    bool
	Command  string // without paths
	Machine  Machine
	Redis    string            // version of the server
	Foreign  bool              // the server was not the benchmark's own
	Versions map[string]string // by module
	Records  []Record
}

// A Record is one measurement, or the error that it ended with.
type Record struct {
	Case      string
	Contender string
	Round     int
	Metrics   workload.Metrics `json:",omitempty"`
	Error     string           `json:",omitempty"`
}

// A Machine is where it ran.
type Machine struct {
	CPU    string
	Cores  int
	System string
	Go     string
}

// Save writes the raw results.
func (r *Run) Save(path string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// Load reads raw results.
func Load(path string) (*Run, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Run{}
	return r, json.Unmarshal(text, r)
}

// A Point is a figure of a contender in a case.
type Point struct{ Case, Contender, Metric string }

// rounds returns what each round says of a point.
func (r *Run) rounds(p Point) map[int]float64 {
	values := map[int]float64{}
	for _, record := range r.Records {
		if record.Case == p.Case && record.Contender == p.Contender {
			if v, ok := record.Metrics[p.Metric]; ok {
				values[record.Round] = v
			}
		}
	}
	return values
}

// Figure returns what all rounds say of a point, false if none does.
func (r *Run) Figure(p Point) (stats.Summary, bool) {
	return summarize(r.rounds(p))
}

// Ratio returns a point in proportion to the best of others in the same round, false if no round has both.
// best chooses among them.
func (r *Run) Ratio(p Point, best func([]float64) float64, others ...Point) (stats.Summary, bool) {
	ratios := map[int]float64{}
	for round, v := range r.rounds(p) {
		var there []float64
		for _, o := range others {
			if other, ok := r.rounds(o)[round]; ok {
				there = append(there, other)
			}
		}
		if len(there) > 0 && best(there) != 0 {
			ratios[round] = v / best(there)
		}
	}
	return summarize(ratios)
}

func summarize(rounds map[int]float64) (stats.Summary, bool) {
	values := make([]float64, 0, len(rounds))
	for _, v := range rounds {
		values = append(values, v)
	}
	return stats.Summarize(values), len(values) > 0
}

func highest(values []float64) float64 { return slices.Max(values) }
func lowest(values []float64) float64  { return slices.Min(values) }

// errorOf returns the first error of a contender in a case, or "".
func (r *Run) errorOf(caseKey, contender string) string {
	for _, record := range r.Records {
		if record.Case == caseKey && record.Contender == contender && record.Error != "" {
			return record.Error
		}
	}
	return ""
}

// measured reports whether anything is recorded of a contender in a case.
func (r *Run) measured(caseKey, contender string) bool {
	return slices.ContainsFunc(r.Records, func(record Record) bool {
		return record.Case == caseKey && record.Contender == contender
	})
}

// has reports whether anything of a case was measured.
func (r *Run) has(caseKey string) bool {
	return slices.ContainsFunc(r.Records, func(record Record) bool { return record.Case == caseKey })
}
