package report

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/workload"
)

// Write writes results.md and the plots into dir.
func Write(dir string, r *Run, workloads []workload.Workload) error {
	plots, err := drawAll(dir, r, workloads)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "results.md"), []byte(page(r, workloads, plots)), 0o644)
}

// page is results.md. plots has the files of each workload, and of "overview".
func page(r *Run, workloads []workload.Workload, plots map[string][]string) string {
	var b strings.Builder
	write := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }
	pictures := func(key string) {
		for _, file := range plots[key] {
			write("![%s](%s)\n\n", strings.TrimSuffix(file, ".svg"), file)
		}
	}
	write("# Results\n\n%s\n\n", setting(r))
	if r.Quick {
		write("**A quick run: its rounds are too short, and too few, to compare by.**\n\n")
	}
	if failed := failures(r); failed != "" {
		write("## Failures\n\n%s\n", failed)
	}
	pictures("overview")
	write("## What a user feels\n\n%s\n", summary(r, workloads, felt()))
	write("## What it costs\n\n%s\n", summary(r, workloads, headlines(workloads)))
	write("## Ratios of the same round\n\n%s\n", ratios(r, workloads))
	write("## Contenders\n\n%s\n", contenders(r))
	write("A cell has the median of all rounds, and in brackets the smallest and the largest. × is the median of " +
		"the ratios to the baseline of the same round.\n\n")
	for _, w := range workloads {
		if !anyOf(r, w) {
			continue
		}
		write("## (%s) %s\n\n%s\n\n", w.Key, w.Title, w.About)
		pictures(w.Key)
		for _, c := range w.Cases {
			title := strings.ToUpper(c.Title[:1]) + c.Title[1:]
			switch {
			case c.Skip != "":
				write("### %s\n\nNot measured: %s.\n\n", title, c.Skip)
			case r.has(c.Key):
				write("### %s\n\n%s\n", title, caseTable(r, w, c))
			}
		}
	}
	return b.String()
}

func anyOf(r *Run, w workload.Workload) bool {
	for _, c := range w.Cases {
		if r.has(c.Key) {
			return true
		}
	}
	return false
}

// setting says on what, with what and when.
func setting(r *Run) string {
	where := "client and server share the machine"
	if r.Foreign {
		where = "the server is the one of REDIS_URL"
	}
	return fmt.Sprintf("%s, %d cores, %s; %s, Redis %s; %s. `%s` on %s, %v.",
		r.Machine.CPU, r.Machine.Cores, r.Machine.System, r.Machine.Go, r.Redis, where,
		r.Command, r.Started.UTC().Format(time.DateOnly), r.Took.Round(time.Second))
}

func failures(r *Run) string {
	var b strings.Builder
	for _, record := range r.Records {
		if record.Error != "" {
			fmt.Fprintf(&b, "- %s, %s, round %d: %s\n", record.Case, record.Contender, record.Round, firstLine(record.Error))
		}
	}
	return b.String()
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return s
}

// contenders says what was compared.
func contenders(r *Run) string {
	t := table{head: []string{"contender", "in `-only`", "version", "a waiter", "renews", "tells of a loss", "capacity"}}
	yes := map[bool]string{true: "yes", false: "no"}
	for _, c := range contender.All() {
		version, capacity := "", "any"
		if c.Module != "" {
			version = c.Module + " " + r.Versions[c.Module]
		}
		if c.LockOnly {
			capacity = "1"
		}
		t.add(c.Title, c.Key, version, c.Waits, yes[c.Renews], yes[c.Tells], capacity)
	}
	return t.String()
}

// caseTable has a row for each contender that was measured, or cannot be.
func caseTable(r *Run, w workload.Workload, c workload.Case) string {
	var t table
	t.head = append(t.head, "contender")
	for _, column := range w.Columns {
		t.head = append(t.head, column.Heading)
		if column.Ratio && c.Baseline != "" {
			t.head = append(t.head, "×")
		}
	}
	for _, key := range c.Contenders {
		who, err := contender.Find(key)
		if err != nil || !r.measured(c.Key, key) {
			continue
		}
		t.add(append([]string{who.Title}, cells(r, w, c, key)...)...)
	}
	for _, who := range contender.All() {
		if remark, ok := c.Remarks[who.Key]; ok {
			t.add(who.Title, remark)
		}
	}
	return t.String()
}

func cells(r *Run, w workload.Workload, c workload.Case, key string) []string {
	if text := r.errorOf(c.Key, key); text != "" {
		return []string{"failed: " + firstLine(text)}
	}
	var row []string
	for _, column := range w.Columns {
		p := Point{c.Key, key, column.Metric}
		text := "–"
		if s, ok := r.Figure(p); ok {
			text = cell(s, column.Unit, column.Fold)
		}
		row = append(row, text)
		if !column.Ratio || c.Baseline == "" {
			continue
		}
		text = "–"
		if s, ok := r.Ratio(p, lowest, Point{c.Key, c.Baseline, column.Metric}); ok {
			text = cell(s, workload.Number, workload.Middle)
		}
		row = append(row, text)
	}
	return row
}
