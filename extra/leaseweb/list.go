package leaseweb

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/eqworks/passbuddy/internal/view"
)

// A listModel is what the list shows.
type listModel struct {
	Stale   *stale
	Rows    []row
	Columns []column
	Pager   pager
	Search  string
	Empty   string // why there are no rows
}

type row struct {
	view.Semaphore
	Href     string
	States   []mark
	Bar      bar
	Trend    trend
	Unseen   bool // it has not been looked at yet
	Oldest   string
	Next     string
	Why      string // of the override
	AtMicros int64  // the server's time
}

type column struct {
	Title, Class, Href, Sorted string
}

// A mark says how a semaphore is.
type mark struct{ Class, Text string }

// A bar is a picture of what is held, free and waiting. Its numbers are hundredths of its width.
type bar struct {
	Held, Free float64
	Waiting    float64
	Cells      []cell // one for each permit, where they are few
}

type cell struct {
	X, Width float64
	Held     bool
}

// The bar's part for permits, and a gap; the rest is for those who wait.
const barPermits, barGap = 74.0, 3.0

func barOf(v view.Semaphore) bar {
	whole := max(v.Capacity, v.Held)
	if whole == 0 {
		return bar{Waiting: waitingPart(v.Waiting, 1)}
	}
	b := bar{Held: barPermits * float64(v.Held) / float64(whole), Waiting: waitingPart(v.Waiting, whole)}
	b.Free = barPermits - b.Held
	if whole <= 16 {
		for i := range whole {
			b.Cells = append(b.Cells, cell{barPermits * float64(i) / float64(whole), barPermits / float64(whole), i < v.Held})
		}
	}
	return b
}

// waitingPart is full where as many wait as there are permits.
func waitingPart(waiting, permits int) float64 {
	return (100 - barPermits - barGap) * min(1, float64(waiting)/float64(permits))
}

// marks are the state, and whether processes disagree.
func marks(v view.Semaphore, l *limits) []mark {
	all := []mark{{v.State, v.StateText()}}
	if v.State == "" {
		all[0] = mark{"unseen", "…"}
	}
	if differ, now, before := l.disagree(time.Now()); differ {
		text := "disagree"
		if now.capacity != before.capacity {
			text += fmt.Sprintf(" %d/%d", min(now.capacity, before.capacity), max(now.capacity, before.capacity))
		}
		all = append(all, mark{"disagree", text})
	}
	return all
}

var severity = map[string]int{view.Failed: 0, view.Stuck: 1, view.Over: 2, view.Paused: 3, view.Resized: 4, view.OK: 5}

func byState(a, b view.Semaphore) int {
	return cmp.Or(severity[a.State]-severity[b.State], cmp.Compare(a.Name, b.Name))
}

// A stale picture is old: Redis does not answer.
type stale struct {
	Ago     string // empty: it has never answered
	Error   string
	Refuses bool // it answers, with an error
}

// slow is for how long Redis may take before what is known counts as old.
const slow = 3 * time.Second

func staleOf(seen time.Time, failure error) *stale {
	if failure == nil && !seen.IsZero() && time.Since(seen) < slow {
		return nil
	}
	s := &stale{Error: "no answer yet"}
	if failure != nil {
		s.Error = failure.Error()
		var reply interface{ RedisError() }
		s.Refuses = errors.As(failure, &reply)
	}
	if !seen.IsZero() {
		s.Ago = ago(time.Since(seen))
	}
	return s
}

// ago is a duration in whole seconds.
func ago(d time.Duration) string { return view.Brief(d.Truncate(time.Second)) }

// listModel gathers what is known.
func (h *Handler) listModel(p page) listModel {
	s := h.source
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.matching(p.search)
	all := make([]view.Semaphore, len(names))
	for i, name := range names {
		all[i] = view.Semaphore{Name: name}
		if r := s.records[name]; r != nil {
			all[i] = r.summary
		}
	}
	slices.SortFunc(all, orders[p.order])
	total := len(all)
	all, p.number = cut(all, p.number, perPage)
	m := listModel{Search: p.search, Columns: h.columns(p)}
	looking := s.failure == nil && !s.scan.known && s.scan.underWay != nil && time.Since(s.scan.began) < slow
	if !looking {
		m.Stale = staleOf(s.seen, s.failure)
	}
	m.Pager = pagerOf("semaphores", p.number, perPage, total, func(n int) string { q := p; q.number = n; return h.href(q) })
	for _, v := range all {
		m.Rows = append(m.Rows, h.row(v, s.record(v.Name), p.act))
	}
	switch {
	case total > 0:
	case looking:
		m.Empty = "Looking for semaphores …"
	case p.search != "" && len(s.names) > 0:
		m.Empty = fmt.Sprintf("None of %d semaphores matches %q.", len(s.names), p.search)
	case m.Stale == nil:
		m.Empty = "No semaphore has been used within a day. One appears here when a process acquires a permit; new names are looked for once a minute."
	}
	return m
}

// row shows one semaphore. The source's mu is held.
func (h *Handler) row(v view.Semaphore, r *record, act bool) row {
	one := row{
		Semaphore: v, Href: h.href(page{name: v.Name, act: act}), States: marks(v, &r.limits), Bar: barOf(v), Trend: r.past.trend(),
		Unseen: v.State == "" || v.State == view.Failed, AtMicros: v.ServerTime.UnixMicro(),
	}
	if v.Oldest != nil {
		one.Oldest = view.Brief(seconds(*v.Oldest))
	}
	if v.Expires != nil {
		one.Next = view.Brief(max(0, v.Expires.Sub(v.ServerTime)).Round(100 * time.Millisecond))
	}
	if v.Override != nil {
		one.Why = v.Override.Reason
	}
	return one
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

func (h *Handler) columns(p page) []column {
	var all []column
	for _, c := range []struct{ title, class, order string }{
		{"Name", "name", "name"}, {"State", "state", "state"}, {"Permits and queue", "use", ""}, {"Held", "held number", "held"},
		{"Waiting", "waiting number", ""}, {"Oldest wait", "oldest number", "wait"}, {"Next expiry", "next number", "expiry"}, {"Last 5 minutes", "past", ""},
	} {
		one := column{Title: c.title, Class: c.class}
		if c.order != "" {
			one.Href = h.href(page{search: p.search, order: c.order})
			if c.order == p.order {
				one.Sorted = "descending"
				if c.order == "name" || c.order == "expiry" {
					one.Sorted = "ascending"
				}
			}
		}
		all = append(all, one)
	}
	return all
}

// list is the page of all semaphores.
func (h *Handler) list(w http.ResponseWriter, r *http.Request) { h.show(w, r, h.pageOf(r)) }
