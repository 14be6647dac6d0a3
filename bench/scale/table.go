package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/eqworks/passbuddy/bench/internal/report"
	"github.com/eqworks/passbuddy/bench/internal/workload"
)

// A table of the results. Its rows are shown as they come.
type table struct {
	title, about string
	heads        []string
	rows         [][]string
}

func newTable(title, about string, heads ...string) *table {
	fmt.Printf("\n%s\n%s\n", title, strings.Join(heads, " | "))
	return &table{title: title, about: about, heads: heads}
}

func (t *table) add(cells ...string) {
	fmt.Println(strings.Join(cells, " | "))
	t.rows = append(t.rows, cells)
}

func (t *table) write(w io.Writer) {
	fmt.Fprintf(w, "\n## %s\n\n%s\n\n", t.title, t.about)
	line := func(cells []string) { fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.heads)
	fmt.Fprintf(w, "|%s\n", strings.Repeat(" ---: |", len(t.heads)))
	for _, row := range t.rows {
		line(row)
	}
}

func count(n int) string              { return report.Format(float64(n), workload.Number) }
func number(v float64) string         { return report.Format(v, workload.Number) }
func duration(d time.Duration) string { return report.Format(float64(d), workload.Duration) }
func share(of, d time.Duration) string {
	return report.Format(of.Seconds()/d.Seconds(), workload.Share)
}

func bytesOf(n int64, of int) string {
	switch b := float64(n) / float64(of); {
	case b < 10e3:
		return number(b) + " B"
	case b < 10e6:
		return number(b/1e3) + " kB"
	default:
		return number(b/1e6) + " MB"
	}
}

// mark is in every name.
var mark = fmt.Sprintf("scale-%d", os.Getpid())
