package leaseweb

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/eqworks/passbuddy/internal/view"
)

// A oneModel is what the page of one semaphore shows.
type oneModel struct {
	Base    string
	Stale   *stale
	Name    string
	Missing bool // there is no such semaphore
	Nothing bool // Redis has not answered yet
	Act     bool
	Paused  bool

	States   []mark
	V        view.Semaphore
	Free     int
	Oldest   string
	TTL      string
	Override string
	Bar      bar
	Trend    trend
	AtMicros int64

	Timeline  timeline
	Holders   []holderRow
	Leases    pager
	Waiters   []waiterRow
	Queue     pager
	Processes []view.Process
	Others    int // processes that wait and are not listed
}

type holderRow struct {
	view.Holder
	Lanes    string
	Asked    string
	Expires  string
	Trust    float64 // hundredths of the TTL that are left
	Renewals string  // empty: they come
	Color    int
	Short    string // of the id: what is not the label and the owner
}

type waiterRow struct {
	view.Waiter
	Short string
	Waits string
	Color int
}

// perProcesses is how many processes that wait are listed.
const perProcesses = 50

func (h *Handler) oneModel(p page) oneModel {
	s := h.source
	s.mu.Lock()
	defer s.mu.Unlock()
	m := oneModel{Base: h.opts.BasePath, Name: p.name, Act: p.act}
	r := s.record(p.name)
	m.Stale = staleOf(r.stateAt, r.stateErr)
	if r.state == nil {
		m.Nothing = true
		return m
	}
	d := view.OfState(r.state, len(r.state.Holders)+len(r.state.Waiters))
	if m.Missing = !d.Known; m.Missing {
		return m
	}
	v := d.Semaphore
	m.V, m.AtMicros, m.States, m.Paused = v, v.ServerTime.UnixMicro(), marks(v, &r.limits), v.State == view.Paused
	m.Free, m.Bar, m.Trend = max(0, v.Capacity-v.Held), barOf(v), r.past.trend()
	if v.Oldest != nil {
		m.Oldest = view.Brief(seconds(*v.Oldest))
	}
	if v.TTL > 0 {
		m.TTL = seconds(v.TTL).String()
	}
	m.Override = overrideText(v)

	to := func(set func(q *page, number int)) func(int) string {
		return func(number int) string {
			q := p
			set(&q, number)
			return h.href(q)
		}
	}
	m.Timeline = h.timeline(p, r, v)
	m.Timeline.Pager = pagerOf("lanes", m.Timeline.number, perView, m.Timeline.total, to(func(q *page, n int) { q.lanes = n }))

	byLane(d.Holders, &r.lanes)
	holders, number := cut(d.Holders, p.leases, perPage)
	m.Leases = pagerOf("leases", number, perPage, len(d.Holders), to(func(q *page, n int) { q.leases = n }))
	for _, one := range holders {
		m.Holders = append(m.Holders, holderOf(one, v, r))
	}
	waiters, number := cut(d.Waiters, p.queue, perPage)
	m.Queue = pagerOf("places", number, perPage, len(d.Waiters), to(func(q *page, n int) { q.queue = n }))
	for _, one := range waiters {
		m.Waiters = append(m.Waiters, waiterRow{one, shortID(one.ID), view.Brief(v.ServerTime.Sub(one.Since).Round(100 * time.Millisecond)), r.lanes.colors[one.Owner]})
	}
	m.Processes = d.Processes[:min(len(d.Processes), perProcesses)]
	m.Others = len(d.Processes) - len(m.Processes)
	return m
}

// byLane sorts holders as the timeline shows them.
func byLane(holders []view.Holder, l *lanes) {
	first := func(h view.Holder) int {
		if one := l.live[h.ID]; one != nil && len(one.Lanes) > 0 {
			return one.Lanes[0]
		}
		return len(l.taken)
	}
	slices.SortFunc(holders, func(a, b view.Holder) int { return cmp.Or(first(a)-first(b), cmp.Compare(a.ID, b.ID)) })
}

func holderOf(h view.Holder, v view.Semaphore, r *record) holderRow {
	row := holderRow{Holder: h, Short: shortID(h.ID), Color: r.lanes.colors[h.Owner], Expires: view.Brief(h.Expires.Sub(v.ServerTime).Round(100 * time.Millisecond))}
	if one := r.lanes.live[h.ID]; one != nil {
		row.Lanes = numbers(one.Lanes)
	}
	if h.Asked != nil {
		row.Asked = view.Brief(max(0, v.ServerTime.Sub(*h.Asked)).Round(100*time.Millisecond)) + " ago"
	}
	if v.TTL > 0 {
		row.Trust = min(100, 100*h.Expires.Sub(v.ServerTime).Seconds()/v.TTL)
	}
	if h.Owner != "" && !h.Revoked && overdue(h.Expires, v.ServerTime, seconds(v.TTL)) {
		row.Renewals = "renewal overdue"
	}
	return row
}

// shortID is the part of an id that is neither label nor owner.
func shortID(id string) string {
	if end := strings.IndexAny(id, ":@"); end > 0 {
		return id[:end]
	}
	return id
}

// numbers are lanes for people: 1–3, 5.
func numbers(lanes []int) string {
	var parts []string
	for i := 0; i < len(lanes); {
		j := i
		for j+1 < len(lanes) && lanes[j+1] == lanes[j]+1 {
			j++
		}
		part := strconv.Itoa(lanes[i])
		if j > i {
			part += "–" + strconv.Itoa(lanes[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ", ")
}

// overrideText says who has set the capacity, when and why.
func overrideText(v view.Semaphore) string {
	o := v.Override
	if o == nil {
		return ""
	}
	who := "An operator"
	if o.By != "" {
		who = o.By
	}
	text := fmt.Sprintf("%s set the capacity to %d", who, o.Capacity)
	if v.State == view.Paused {
		text = who + " paused it"
	}
	if o.At != nil {
		text += " " + ago(max(0, v.ServerTime.Sub(*o.At))) + " ago"
	}
	switch {
	case o.Reason != "":
		text += ": " + o.Reason
	default:
		text += ", without a reason"
	}
	return text
}

// one is the page of one semaphore.
func (h *Handler) one(w http.ResponseWriter, r *http.Request) {
	p := h.pageOf(r)
	if p.name == "" {
		http.Redirect(w, r, h.opts.BasePath+"/", http.StatusSeeOther)
		return
	}
	h.show(w, r, p)
}
