package report

import (
	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/workload"
)

// A headline is a figure that stands for a workload.
type headline struct {
	heading string
	Point   // without the contender
	unit    workload.Unit
}

// felt are the columns of the table that comes first: what a user of a service feels. A case that was not measured leaves its
// column empty.
func felt() []headline {
	return []headline{
		{"a limit on a request path, 16 callers: a request's share, p50", Point{Case: "a/limit", Metric: "p50"}, workload.Duration},
		{"p99", Point{Case: "a/limit", Metric: "p99"}, workload.Duration},
		{"64 workers in 4 processes, ten permits, 1 ms of work: permits in use", Point{Case: "b/10/1ms/4", Metric: "used"}, workload.Share},
		{"wait p99", Point{Case: "b/10/1ms/4", Metric: "p99"}, workload.Duration},
		{"100 ms of work: permits in use", Point{Case: "b/10/100ms/4", Metric: "used"}, workload.Share},
		{"even (Jain)", Point{Case: "b/10/100ms/4", Metric: "jain"}, workload.Index},
		{"a holder crashes: the next one holds after", Point{Case: "g/crash", Metric: "p50"}, workload.Duration},
		{"Redis stalls: told in time", Point{Case: "e/loss", Metric: "stopInTime"}, workload.Share},
	}
}

// headlines are the columns of the table that follows: what it costs.
func headlines(workloads []workload.Workload) []headline {
	list := []headline{
		{"pairs/s, 1 caller", Point{Case: "a/1", Metric: "pairs"}, workload.Rate},
		{"pairs/s, 256 callers", Point{Case: "a/256", Metric: "pairs"}, workload.Rate},
		{"acquires/s, 64 callers, one permit, 4 processes", Point{Case: "b/1/0ms/4", Metric: "acquires"}, workload.Rate},
		{"of these, from process to process", Point{Case: "b/1/0ms/4", Metric: "crossed"}, workload.Share},
		{"acquires/s, the same with a 1 ms section", Point{Case: "b/1/1ms/4", Metric: "acquires"}, workload.Rate},
		{"wait p99 there", Point{Case: "b/1/1ms/4", Metric: "p99"}, workload.Duration},
		{"Jain there", Point{Case: "b/1/1ms/4", Metric: "jain"}, workload.Index},
		{"commands/acquire there", Point{Case: "b/1/1ms/4", Metric: "commands"}, workload.Number},
		{"hand-over p50, idle processes", Point{Case: "c/idle", Metric: "p50"}, workload.Duration},
	}
	if key := heldCase(workloads, heldMany); key != "" {
		list = append(list, headline{"client CPU, " + heldTitle(workloads, heldMany), Point{Case: key, Metric: "client"}, workload.Share})
	}
	return list
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

// summary is a short table: medians only.
func summary(r *Run, workloads []workload.Workload, lines []headline) string {
	t := table{head: []string{""}}
	for _, h := range lines {
		t.head = append(t.head, h.heading)
	}
	for _, who := range contender.All() {
		row, any := []string{who.Title}, false
		for _, h := range lines {
			p := h.Point
			p.Contender = who.Key
			text := "–"
			if s, ok := r.Figure(p); ok {
				text, any = Format(s.Median, h.unit), true
			} else if remark := remarkIn(workloads, p.Case, who.Key); remark != "" && r.has(p.Case) {
				text = remark
			}
			row = append(row, text)
		}
		if any {
			t.add(row...)
		}
	}
	return t.String()
}
