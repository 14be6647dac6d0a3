package report

import (
	"path/filepath"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"

	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/stats"
	"github.com/eqworks/passbuddy/bench/internal/workload"
)

const chartWidth = 640

// A picture is a file with charts in columns.
type picture struct {
	key     string // of the workload it belongs to
	file    string
	columns int
	compact bool
	charts  []*chart
}

// drawAll writes the plots of all that was measured into dir, and returns their files by workload.
func drawAll(dir string, r *Run, workloads []workload.Workload) (map[string][]string, error) {
	files := map[string][]string{}
	for _, picture := range pictures(r, workloads) {
		var grid [][]*chart
		var heights []int
		for _, c := range picture.charts {
			if c.empty() {
				continue
			}
			if n := len(grid); n == 0 || len(grid[n-1]) == picture.columns {
				grid, heights = append(grid, nil), append(heights, 0)
			}
			n := len(grid) - 1
			grid[n] = append(grid[n], c)
			heights[n] = max(heights[n], len(c.present()))
		}
		if len(grid) == 0 {
			continue
		}
		for i := range grid {
			for len(grid[i]) < len(grid[0]) {
				grid[i] = append(grid[i], nil)
			}
		}
		rows := 0
		for _, h := range heights {
			rows = max(rows, h)
		}
		if picture.keyed() {
			rows++
		}
		each := vg.Length(rows*picture.rowHeight() + 62)
		width := vg.Length(chartWidth)
		if len(grid[0]) > 1 {
			width = 900
		}
		if err := drawCharts(filepath.Join(dir, picture.file), grid, width, each*vg.Length(len(grid))); err != nil {
			return nil, err
		}
		files[picture.key] = append(files[picture.key], picture.file)
	}
	return files, nil
}

// keyed reports whether a chart needs a line for its key.
func (p *picture) keyed() bool {
	return slices.ContainsFunc(p.charts, func(c *chart) bool { return len(c.series) > 1 })
}

// rowHeight leaves room for the dots of all series.
func (p *picture) rowHeight() int {
	if p.compact {
		return 15
	}
	most := 1
	for _, c := range p.charts {
		most = max(most, len(c.series))
	}
	return 11 + 5*most
}

// pictures are all plots; those without figures are left out later.
func pictures(r *Run, workloads []workload.Workload) []picture {
	return []picture{
		overview(r, workloads),
		{key: "a", file: "uncontended.svg", columns: 1, charts: []*chart{
			draft(r, "pairs", workload.Rate, "Acquire and release, nobody waits", "pairs per second, logarithmic; right is better",
				"a/pinned", "1 caller, one core", "a/1", "1 caller", "a/16", "16 callers", "a/256", "256 callers"),
		}},
		{key: "b", file: "contended.svg", columns: 2, charts: ofSettings(r, "acquires", workload.Rate, "acquires per second, logarithmic; right is better")},
		{key: "b", file: "waits.svg", columns: 2, charts: ofSettings(r, "p99", workload.Duration, "wait p99, logarithmic; left is better")},
		{key: "c", file: "handover.svg", columns: 1, charts: []*chart{
			draft(r, "p50", workload.Duration, "Hand-over between two processes", "p50 from the call of Release, logarithmic; left is better",
				"c/idle", "idle processes", "c/busy", "busy processes"),
		}},
		{key: "d", file: "held.svg", columns: 1, charts: []*chart{
			draft(r, "client", workload.Share, "Leases held, each renewed every second", "client CPU of one core, logarithmic; left is better",
				heldCase(workloads, heldFewOfOne), heldName(workloads, heldFewOfOne),
				heldCase(workloads, heldManyOfOne), heldName(workloads, heldManyOfOne),
				heldCase(workloads, heldFew), heldName(workloads, heldFew),
				heldCase(workloads, heldMany), heldName(workloads, heldMany)),
		}},
		{key: "e", file: "loss.svg", columns: 1, charts: []*chart{told(r)}},
		{key: "f", file: "limit.svg", columns: 1, charts: []*chart{limits(r)}},
	}
}

// heldName is short enough for a key.
func heldName(workloads []workload.Workload, i int) string {
	return strings.NewReplacer(" leases, each of its own name", ", own names", " leases of one name", ", one name").Replace(heldTitle(workloads, i))
}

// draft makes a chart of one metric; casesAndNames has the key and the name of each series.
func draft(r *Run, metric string, unit workload.Unit, title, axis string, casesAndNames ...string) *chart {
	c := &chart{title: title, axis: axis, unit: unit}
	for _, who := range contender.All() {
		c.rows = append(c.rows, who.Title)
	}
	for i := 0; i < len(casesAndNames); i += 2 {
		if s := seriesOf(r, casesAndNames[i], metric, casesAndNames[i+1]); len(s.figures) > 0 {
			c.series = append(c.series, s)
		}
	}
	return c
}

func seriesOf(r *Run, caseKey, metric, name string) series {
	s := series{name: name, figures: map[string]stats.Summary{}}
	for _, who := range contender.All() {
		if f, ok := r.Figure(Point{caseKey, who.Key, metric}); ok {
			s.figures[who.Title] = f
		}
	}
	return s
}

// ofSettings makes a chart of each setting of workload (b).
func ofSettings(r *Run, metric string, unit workload.Unit, axis string) []*chart {
	var charts []*chart
	for _, setting := range []struct{ key, title string }{
		{"b/1/0ms", "64 callers, one permit, empty section"},
		{"b/1/1ms", "64 callers, one permit, 1 ms section"},
		{"b/10/0ms", "64 callers, ten permits, empty section"},
		{"b/10/1ms", "64 callers, ten permits, 1 ms section"},
	} {
		charts = append(charts, draft(r, metric, unit, setting.title, axis,
			setting.key+"/1", "1 process", setting.key+"/4", "4 processes", setting.key+"/16", "16 processes"))
	}
	return charts
}

// told shows workload (e) on a linear axis, because there are times before and after.
func told(r *Run) *chart {
	c := draft(r, "stop", workload.Duration, "When the holder of a lease of 2 s is told that it is lost",
		"relative to the moment the server gives the permit away; left of zero is in time",
		"e/loss", "SIGSTOP")
	for _, other := range []struct{ metric, name string }{{"kill", "SIGKILL"}, {"delete", "DEL, after the deletion"}} {
		if s := seriesOf(r, "e/loss", other.metric, other.name); len(s.figures) > 0 {
			c.series = append(c.series, s)
		}
	}
	c.linear = true
	return c
}

func limits(r *Run) *chart {
	c := draft(r, "pairs", workload.Rate, "The server's own limit", "pairs per second in deep pipelines; right is better", "f/limit", "")
	c.linear, c.values = true, true
	return c
}

// overview is the picture for the README: four figures on one page.
func overview(r *Run, workloads []workload.Workload) picture {
	charts := []*chart{
		draft(r, "pairs", workload.Rate, "Nobody waits, 256 callers", "pairs of acquire and release per second; right is better", "a/256", ""),
		draft(r, "acquires", workload.Rate, "64 callers, 4 processes, one permit, empty section", "acquires per second; right is better", "b/1/0ms/4", ""),
		draft(r, "p99", workload.Duration, "64 callers, 4 processes, one permit, 1 ms section", "wait p99; left is better", "b/1/1ms/4", ""),
		draft(r, "p50", workload.Duration, "Hand-over between idle processes", "p50 from the call of Release; left is better", "c/idle", ""),
		draft(r, "client", workload.Share, heldTitle(workloads, heldMany)+", renewed every second", "client CPU of one core; left is better", heldCase(workloads, heldMany), ""),
		told(r),
	}
	for _, c := range charts[:5] {
		c.values = true
		c.rows = ofFleets()
		c.axis += " (logarithmic)"
	}
	charts[5].title = "A lease of 2 s is lost: when the holder is told"
	charts[5].axis = "relative to when the server gives the permit away; left of 0 is in time"
	return picture{key: "overview", file: "overview.svg", columns: 2, compact: true, charts: charts}
}

// ofFleets are the rows without what lives in one process, and with this library once.
func ofFleets() []string {
	var rows []string
	for _, who := range contender.All() {
		if !who.OneHost && !who.Variant {
			rows = append(rows, who.Title)
		}
	}
	return rows
}
