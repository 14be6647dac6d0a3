package report

import (
	"slices"

	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/workload"
)

// A headline is a figure that stands for a workload: a row of a summary.
type headline struct {
	heading string
	Point   // without the contender
	unit    workload.Unit
}

// felt is the table that comes first: what a user of a service feels. What was not measured has no row.
func felt() []headline {
	return []headline{
		{"A limit on a request path (16 callers, 64 permits): acquire and release, p50", Point{Case: "a/limit", Metric: "p50"}, workload.Duration},
		{"the same, p99", Point{Case: "a/limit", Metric: "p99"}, workload.Duration},
		{"64 workers in 4 processes share ten permits for 1 ms of work: permits in use", Point{Case: "b/10/1ms/4", Metric: "used"}, workload.Share},
		{"their waits, p99", Point{Case: "b/10/1ms/4", Metric: "p99"}, workload.Duration},
		{"the same with 100 ms of work: permits in use", Point{Case: "b/10/100ms/4", Metric: "used"}, workload.Share},
		{"how even their turns are (Jain's index, at most 1)", Point{Case: "b/10/100ms/4", Metric: "jain"}, workload.Index},
		{"A holder crashes: until the next one holds, p50", Point{Case: "g/crash", Metric: "p50"}, workload.Duration},
		{"Redis stalls: holders told before their permit's expiry", Point{Case: "e/loss", Metric: "stopInTime"}, workload.Share},
	}
}

// headlines is the table that follows: what it costs.
func headlines(workloads []workload.Workload) []headline {
	list := []headline{
		{"Acquire and release, each caller on its own name, 1 caller: pairs/s", Point{Case: "a/1", Metric: "pairs"}, workload.Rate},
		{"16 callers", Point{Case: "a/16", Metric: "pairs"}, workload.Rate},
		{"256 callers", Point{Case: "a/256", Metric: "pairs"}, workload.Rate},
		{"64 callers in 4 processes share one permit, no work: acquires/s", Point{Case: "b/1/0ms/4", Metric: "acquires"}, workload.Rate},
		{"of these, from process to process", Point{Case: "b/1/0ms/4", Metric: "crossed"}, workload.Share},
		{"the same with 1 ms of work: acquires/s", Point{Case: "b/1/1ms/4", Metric: "acquires"}, workload.Rate},
		{"their waits, p99", Point{Case: "b/1/1ms/4", Metric: "p99"}, workload.Duration},
		{"how even their turns are (Jain's index, at most 1)", Point{Case: "b/1/1ms/4", Metric: "jain"}, workload.Index},
		{"commands of Redis for each acquire", Point{Case: "b/1/1ms/4", Metric: "commands"}, workload.Number},
		{"A permit goes from one idle process to another, p50", Point{Case: "c/idle", Metric: "p50"}, workload.Duration},
	}
	if key := heldCase(workloads, heldMany); key != "" {
		title := heldTitle(workloads, heldMany)
		list = append(list,
			headline{title + ", each renewed every second: client CPU", Point{Case: key, Metric: "client"}, workload.Share},
			headline{"Redis CPU", Point{Case: key, Metric: "server"}, workload.Share})
	}
	return list
}

// compared are the contenders of the summaries, as many as a page has room for. Their workloads' own tables have the others:
// baselines and variants.
var compared = []string{
	us, lingering, "rueidislock-1", "redsync", "redislock", "blpop", "sortedset",
}

// The cases of workload (d): few and many leases, of one name and of their own.
const (
	heldFewOfOne = iota
	heldManyOfOne
	heldFew
	heldMany
)

// heldCase returns the key of the i-th case of workload (d), whose sizes depend on the run.
func heldCase(workloads []workload.Workload, i int) string {
	if c := heldAt(workloads, i); c != nil {
		return c.Key
	}
	return ""
}

func heldTitle(workloads []workload.Workload, i int) string {
	if c := heldAt(workloads, i); c != nil {
		return c.Title
	}
	return ""
}

func heldAt(workloads []workload.Workload, i int) *workload.Case {
	for _, w := range workloads {
		if w.Key == "d" && i < len(w.Cases) {
			return &w.Cases[i]
		}
	}
	return nil
}

// remarkIn returns why a contender has no figure in a case.
func remarkIn(workloads []workload.Workload, caseKey, contenderKey string) string {
	for _, w := range workloads {
		for _, c := range w.Cases {
			if c.Key == caseKey {
				return c.Remarks[contenderKey]
			}
		}
	}
	return ""
}

// summary is a short table: medians only, a row for each headline that was measured and a column for each contender.
func summary(r *Run, workloads []workload.Workload, lines []headline) string {
	lines = slices.DeleteFunc(lines, func(h headline) bool { return !r.has(h.Case) })
	t := table{head: []string{""}}
	var columns []string
	for _, key := range compared {
		who, err := contender.Find(key)
		if err == nil && slices.ContainsFunc(lines, func(h headline) bool { return r.measured(h.Case, key) }) {
			columns, t.head = append(columns, key), append(t.head, who.Title)
		}
	}
	for _, h := range lines {
		row := []string{h.heading}
		for _, key := range columns {
			p, text := h.Point, "–"
			p.Contender = key
			if s, ok := r.Figure(p); ok {
				text = Format(s.Median, h.unit)
			} else if remark := remarkIn(workloads, p.Case, key); remark != "" {
				text = remark
			}
			row = append(row, text)
		}
		t.add(row...)
	}
	return t.String()
}
