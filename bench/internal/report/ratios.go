package report

import (
	"fmt"
	"strings"

	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/stats"
	"github.com/eqworks/passbuddy/bench/internal/workload"
)

// ratios is a table of how this library compares, each figure with the one beside it in the same round.
func ratios(r *Run, workloads []workload.Workload) string {
	t := ratioTable{run: r, table: table{head: []string{"PassBuddy", "measured"}}}
	t.uncontended()
	t.contended()
	t.handover()
	t.held(heldCase(workloads, heldManyOfOne), heldCase(workloads, heldMany), heldTitle(workloads, heldManyOfOne), heldTitle(workloads, heldMany))
	t.loss()
	t.figure("g/crash", "p50", workload.Duration, "(g) a holder crashes: until the next one holds")
	return t.String()
}

type ratioTable struct {
	table
	run *Run
}

const (
	us        = "passbuddy"
	lingering = "passbuddy-linger"
)

// line adds a row, unless the figure was not measured.
func (t *ratioTable) line(s stats.Summary, ok bool, unit workload.Unit, format string, args ...any) {
	if ok {
		t.add(fmt.Sprintf(format, args...), cell(s, unit, workload.Middle))
	}
}

// ratio adds a row with a ratio to one other contender in the same case.
func (t *ratioTable) ratio(caseKey, metric, other, format string, args ...any) {
	s, ok := t.run.Ratio(Point{caseKey, us, metric}, lowest, Point{caseKey, other, metric})
	t.line(s, ok, workload.Number, format, args...)
}

// figure adds a row with a figure of this library's alone.
func (t *ratioTable) figure(caseKey, metric string, unit workload.Unit, format string, args ...any) {
	s, ok := t.run.Figure(Point{caseKey, us, metric})
	t.line(s, ok, unit, format, args...)
}

// peers are the figures of all Go modules for leases.
func peers(caseKey, metric string) []Point {
	var points []Point
	for _, c := range contender.All() {
		if c.Peer {
			points = append(points, Point{caseKey, c.Key, metric})
		}
	}
	return points
}

func (t *ratioTable) uncontended() {
	for _, who := range []string{"passbuddy-background", us} {
		with := map[bool]string{true: "a context that can end", false: "a context that cannot end"}[who == us]
		// Times are the inverse of rates.
		s, ok := t.run.Ratio(Point{"a/pinned", "two-evalsha", "pairs"}, lowest, Point{"a/pinned", who, "pairs"})
		t.line(s, ok, workload.Number, "(a) 1 caller, one core, %s: time of a pair ÷ two plain EVALSHA", with)
	}
	for _, callers := range []string{"16", "256"} {
		key := "a/" + callers
		s, ok := t.run.Ratio(Point{key, us, "pairs"}, highest, peers(key, "pairs")...)
		t.line(s, ok, workload.Number, "(a) %s callers: pairs/s ÷ best lease peer", callers)
	}
	for _, callers := range []string{"1", "16", "256"} {
		key := "a/" + callers
		s, ok := t.run.Ratio(Point{key, lingering, "pairs"}, highest, peers(key, "pairs")...)
		t.line(s, ok, workload.Number, "(a) %s callers, Linger 20 ms: pairs/s ÷ best lease peer", callers)
		s, ok = t.run.Figure(Point{key, lingering, "commands"})
		t.line(s, ok, workload.Number, "(a) %s callers, Linger 20 ms: commands per pair", callers)
	}
	t.figure("a/1", "allocs", workload.Number, "(a) allocations per pair, 1 caller")
	s, ok := t.run.Figure(Point{"a/1", "passbuddy-background", "allocs"})
	t.line(s, ok, workload.Number, "(a) allocations per pair, 1 caller, a context that cannot end")
	for _, who := range []string{us, lingering} {
		how := map[string]string{us: "", lingering: ", Linger 20 ms"}[who]
		s, ok := t.run.Ratio(Point{"a/limit", who, "pairs"}, highest, Point{"a/limit", "sortedset", "pairs"}, Point{"a/limit", "blpop", "pairs"})
		t.line(s, ok, workload.Number, "(a) a limit on a request path%s: pairs/s ÷ the better of sorted-set script and BLPOP", how)
	}
	t.ratio("f/limit", "server", "sortedset", "(f) server CPU per pair, both batched ÷ plain sorted-set script")
}

func (t *ratioTable) contended() {
	for _, setting := range []struct{ key, title string }{
		{"b/1/0ms", "one permit, empty section"},
		{"b/10/0ms", "ten permits, empty section"},
		{"b/1/1ms", "one permit, 1 ms section"},
		{"b/10/1ms", "ten permits, 1 ms section"},
		{"b/10/100ms", "ten permits, 100 ms section"},
	} {
		for _, processes := range []string{"1", "4", "16"} {
			key := setting.key + "/" + processes
			title := fmt.Sprintf("(b) %s, %s", setting.title, map[bool]string{true: "1 process", false: processes + " processes"}[processes == "1"])
			t.figure(key, "acquires", workload.Rate, "%s: acquires/s", title)
			t.ratio(key, "acquires", "blpop", "%s: acquires/s ÷ BLPOP", title)
			t.ratio(key, "p99", "blpop", "%s: wait p99 ÷ BLPOP", title)
			t.figure(key, "jain", workload.Index, "%s: Jain", title)
			if !strings.HasSuffix(setting.key, "/0ms") {
				t.figure(key, "used", workload.Share, "%s: permits in use", title)
				t.figure(key, "commands", workload.Number, "%s: commands/acquire", title)
			}
		}
	}
}

func (t *ratioTable) handover() {
	for _, state := range []string{"idle", "busy"} {
		key := "c/" + state
		t.ratio(key, "p50", "blpop", "(c) hand-over, %s: p50 ÷ BLPOP", state)
		s, ok := t.run.Ratio(Point{key, us, "p50"}, lowest, peers(key, "p50")...)
		t.line(s, ok, workload.Number, "(c) hand-over, %s: p50 ÷ best lease peer", state)
	}
}

func (t *ratioTable) held(oneName, ownNames, oneTitle, ownTitle string) {
	// Peers are locks: of one name they can hold only one.
	for _, c := range []struct{ key, title string }{{oneName, oneTitle}, {ownNames, ownTitle}} {
		s, ok := t.run.Ratio(Point{c.key, us, "client"}, lowest, peers(ownNames, "client")...)
		t.line(s, ok, workload.Number, "(d) %s: client CPU ÷ best renewing peer with its own names", c.title)
		t.figure(c.key, "client", workload.Share, "(d) %s: client CPU", c.title)
		t.figure(c.key, "bytes", workload.Bytes, "(d) %s: heap per lease", c.title)
		t.figure(c.key, "goroutines", workload.Number, "(d) %s: goroutines above idle", c.title)
	}
}

func (t *ratioTable) loss() {
	const key = "e/loss"
	t.figure(key, "stopInTime", workload.Share, "(e) SIGSTOP: told before the server's expiry")
	t.figure(key, "killInTime", workload.Share, "(e) SIGKILL: told before the server's expiry")
	t.figure(key, "delete", workload.Duration, "(e) DEL: told after")
	if s, ok := t.run.Figure(Point{key, us, "falseAlarms"}); ok {
		t.add("(e) false alarms", cell(s, workload.Number, workload.Total))
	}
}
