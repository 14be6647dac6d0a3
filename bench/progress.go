package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/eqworks/passbuddy/bench/internal/report"
	"github.com/eqworks/passbuddy/bench/internal/workload"
)

// progress tells on the terminal what has been measured.
type progress struct {
	total, n int
	began    time.Time
}

func (p *progress) say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func (p *progress) heading(w workload.Workload) {
	if p.began.IsZero() {
		p.began = time.Now()
	}
	p.say("\n(%s) %s", w.Key, w.Title)
}

func (p *progress) skip(c *workload.Case) { p.say("  %s: SKIPPED, %s", c.Title, c.Skip) }

// done writes a line: how far it is, what was measured, and the first figures.
func (p *progress) done(w workload.Workload, c *workload.Case, key string, round int, m workload.Metrics, err error, took time.Duration) {
	p.n++
	var figures []string
	for _, column := range w.Columns {
		if v, ok := m[column.Metric]; ok && len(figures) < 4 {
			figures = append(figures, column.Heading+" "+report.Format(v, column.Unit))
		}
	}
	text := strings.Join(figures, ", ")
	if err != nil {
		text = "FAILED: " + err.Error()
	}
	p.say("%4d/%d %4.0fs  %-16s %-21s round %d (%.1fs)  %s",
		p.n, p.total, time.Since(p.began).Seconds(), c.Key, key, round+1, took.Seconds(), text)
}
