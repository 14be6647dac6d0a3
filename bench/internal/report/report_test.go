package report

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/bench/internal/stats"
	"github.com/eqworks/passbuddy/bench/internal/workload"
)

func TestFiguresHaveThreeDigits(t *testing.T) {
	for _, c := range []struct {
		value float64
		unit  workload.Unit
		want  string
	}{
		{0, workload.Number, "0"},
		{4.899, workload.Number, "4.9"},
		{999.6, workload.Number, "1,000"},
		{783_912, workload.Rate, "784,000"},
		{12_345_678, workload.Rate, "12,300,000"},
		{61_234, workload.Duration, "61.2 µs"},
		{999_900, workload.Duration, "1 ms"},
		{-99.6e6, workload.Duration, "−99.6 ms"},
		{0.99951, workload.Share, "100 %"},
		{0.0123, workload.Share, "1.23 %"},
		{388, workload.Bytes, "388 B"},
		{0.9987, workload.Index, "0.999"},
		{0.00001234, workload.Number, "1.2e-05"},
	} {
		if got := Format(c.value, c.unit); got != c.want {
			t.Errorf("Format(%v, %v) = %q, want %q", c.value, c.unit, got, c.want)
		}
	}
}

func TestCellsShowExtremesOnlyWhereTheyDiffer(t *testing.T) {
	s := stats.Summary{Median: 2, Min: 1, Max: 4, Sum: 7, Rounds: 3}
	for fold, want := range map[workload.Fold]string{workload.Middle: "2 (1 – 4)", workload.Most: "4", workload.Total: "7", workload.Mean: "2.33"} {
		if got := cell(s, workload.Number, fold); got != want {
			t.Errorf("fold %v: %q, want %q", fold, got, want)
		}
	}
	if got := cell(stats.Summary{Median: 2, Min: 2, Max: 2}, workload.Number, workload.Middle); got != "2" {
		t.Errorf("%q", got)
	}
}

// threeRounds has figures in which the machine slows down, so that ratios of medians would mislead.
func threeRounds() *Run {
	r := &Run{Started: time.Unix(1_700_000_000, 0), Versions: map[string]string{}}
	add := func(caseKey, contender string, round int, m workload.Metrics) {
		r.Records = append(r.Records, Record{Case: caseKey, Contender: contender, Round: round, Metrics: m})
	}
	for round, speed := range []float64{100, 10, 1} {
		add("c/idle", "blpop", round, workload.Metrics{"p50": 1000 * speed, "p90": 2000, "max": 3000, "samples": 50})
		add("c/idle", "passbuddy", round, workload.Metrics{"p50": 2000 * speed, "p90": 2000, "max": 3000, "samples": 50})
		add("c/idle", "redislock", round, workload.Metrics{"p50": 8000 * speed})
		add("c/idle", "rueidislock", round, workload.Metrics{"p50": 4000 * speed})
	}
	r.Records = append(r.Records, Record{Case: "c/busy", Contender: "setnx", Error: "no luck\nat all"})
	return r
}

func TestRatiosAreOfTheSameRound(t *testing.T) {
	r := threeRounds()
	s, ok := r.Ratio(Point{"c/idle", "passbuddy", "p50"}, lowest, Point{"c/idle", "blpop", "p50"})
	if want := (stats.Summary{Median: 2, Min: 2, Max: 2, Sum: 6, Rounds: 3}); !ok || s != want {
		t.Errorf("%+v, %v; want %+v", s, ok, want)
	}
	s, ok = r.Ratio(Point{"c/idle", "passbuddy", "p50"}, lowest, peers("c/idle", "p50")...)
	if !ok || s.Median != 0.5 {
		t.Errorf("to the best peer: %+v, %v; want 0.5", s, ok)
	}
	if _, ok := r.Ratio(Point{"c/idle", "passbuddy", "p50"}, lowest, Point{"c/idle", "setnx", "p50"}); ok {
		t.Error("a ratio to what was not measured")
	}
}

func TestReportShowsWhatWasMeasuredAndWhatFailed(t *testing.T) {
	dir := t.TempDir()
	r := threeRounds()
	raw := filepath.Join(dir, "results.json")
	if err := r.Save(raw); err != nil {
		t.Fatal(err)
	}
	loaded, err := Load(raw)
	if err != nil {
		t.Fatal(err)
	}
	if err := Write(dir, loaded, workload.All(&workload.Bench{})); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "results.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"| PassBuddy | 20 µs (2 µs – 200 µs) | 2 | 2 µs | 3 µs | 50 |",
		"|  | PassBuddy | redislock | BLPOP, no TTL |\n",
		"| A permit goes from one idle process to another, p50 | 20 µs | 80 µs | 10 µs |\n",
		"(c) hand-over, idle: p50 ÷ BLPOP | 2 |",
		"failed: no luck |",
		"![handover](handover.svg)",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("results.md lacks %q", want)
		}
	}
	if strings.Contains(string(text), "## (a)") {
		t.Error("results.md has a workload that was not measured")
	}
	svg, err := os.ReadFile(filepath.Join(dir, "overview.svg"))
	if err != nil || !strings.Contains(string(svg), "Hand-over between idle processes") {
		t.Errorf("overview.svg: %v, %d bytes", err, len(svg))
	}
}
