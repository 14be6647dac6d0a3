package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/eqworks/passbuddy/bench/internal/stats"
	"github.com/eqworks/passbuddy/bench/internal/workload"
)

// Format writes a figure with three digits that count.
func Format(v float64, unit workload.Unit) string {
	switch unit {
	case workload.Duration:
		return formatDuration(v)
	case workload.Share:
		return digits(v*100) + " %"
	case workload.Bytes:
		return digits(v) + " B"
	case workload.Index:
		return strconv.FormatFloat(v, 'f', 3, 64)
	default:
		return digits(v)
	}
}

func formatDuration(ns float64) string {
	switch size := math.Abs(ns); {
	case size == 0:
		return "0"
	case size >= 0.9995*float64(time.Second):
		return digits(ns/float64(time.Second)) + " s"
	case size >= 0.9995*float64(time.Millisecond):
		return digits(ns/float64(time.Millisecond)) + " ms"
	case size >= 0.9995*float64(time.Microsecond):
		return digits(ns/float64(time.Microsecond)) + " µs"
	default:
		return digits(ns) + " ns"
	}
}

// digits rounds to three digits and separates thousands.
func digits(v float64) string {
	if v == 0 || math.IsInf(v, 0) || math.IsNaN(v) {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	sign := ""
	if v < 0 {
		sign, v = "−", -v
	}
	scale := math.Pow(10, 2-math.Floor(math.Log10(v)))
	v = math.Round(v*scale) / scale
	if v < 1000 {
		if v < 0.01 {
			return sign + strconv.FormatFloat(v, 'g', 2, 64)
		}
		decimals := max(0, 2-int(math.Floor(math.Log10(v))))
		text := strconv.FormatFloat(v, 'f', decimals, 64)
		if strings.Contains(text, ".") {
			text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
		}
		return sign + text
	}
	text := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return sign + text
}

// cell writes what several rounds say.
func cell(s stats.Summary, unit workload.Unit, fold workload.Fold) string {
	switch fold {
	case workload.Most:
		return Format(s.Max, unit)
	case workload.Total:
		return Format(s.Sum, unit)
	case workload.Mean:
		return Format(s.Sum/float64(s.Rounds), unit)
	}
	median, low, high := Format(s.Median, unit), Format(s.Min, unit), Format(s.Max, unit)
	if low == high {
		return median
	}
	return fmt.Sprintf("%s (%s – %s)", median, low, high)
}

// A table of Markdown.
type table struct {
	head []string
	rows [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) String() string {
	var b strings.Builder
	line := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + strings.NewReplacer("|", `\|`, "\n", " ").Replace(c) + " ")
		}
		b.WriteString("|\n")
	}
	line(t.head)
	rule := make([]string, len(t.head))
	for i := range rule {
		rule[i] = "---:"
	}
	rule[0] = "---"
	line(rule)
	for _, row := range t.rows {
		for len(row) < len(t.head) {
			row = append(row, "")
		}
		line(row)
	}
	return b.String()
}
