package leaseweb

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/view"
	"github.com/eqworks/passbuddy/lease"
)

var noon = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time {
	return noon.Add(time.Duration(seconds * float64(time.Second)))
}

const ttl = 15 * time.Second

// stateAt is what Inspect finds at a time: holders that have been renewed a second before.
func stateAt(when float64, holders ...lease.Holder) *lease.State {
	for i := range holders {
		h := &holders[i]
		h.Owner, h.Weight = "node/1", max(h.Weight, 1)
		if h.Expires.IsZero() {
			h.Expires = at(when).Add(ttl - time.Second)
		}
	}
	return &lease.State{ServerTime: at(when), OtherTTL: ttl, Holders: holders}
}

func (l *lanes) show() string {
	var all []string
	for _, s := range l.spans() {
		text := fmt.Sprintf("%s in %v from %v", s.ID, s.Lanes, s.From.Sub(noon).Seconds())
		if s.Guessed {
			text += "?"
		}
		if !s.End.IsZero() {
			text += fmt.Sprintf(" to %v %s", s.End.Sub(noon).Seconds(), []string{"released", "expired", "revoked"}[s.How])
		}
		all = append(all, text)
	}
	return strings.Join(all, "\n")
}

func mustShow(t *testing.T, l *lanes, want ...string) {
	t.Helper()
	if got := l.show(); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestTheFirstPictureBeginsWhereLeasesWereAskedFor(t *testing.T) {
	var l lanes
	l.observe(stateAt(100, lease.Holder{ID: "a", AskedAt: at(40)}, lease.Holder{ID: "b"}, lease.Holder{ID: "ahead", AskedAt: at(130)}))
	mustShow(t, &l, "a in [0] from 40?", "ahead in [2] from 100?", "b in [1] from 100?")
}

func TestAPermitThatChangesHandsIsOneLaneWithoutAGap(t *testing.T) {
	var l lanes
	l.observe(stateAt(100, lease.Holder{ID: "a", AskedAt: at(90)}, lease.Holder{ID: "b", AskedAt: at(91)}))
	l.observe(stateAt(101, lease.Holder{ID: "b", AskedAt: at(91)}, lease.Holder{ID: "c", AskedAt: at(95)})) // it waited
	l.observe(stateAt(102, lease.Holder{ID: "b", AskedAt: at(91)}, lease.Holder{ID: "c", AskedAt: at(95)}, lease.Holder{ID: "d", AskedAt: at(101.9)}))
	mustShow(t, &l, "a in [0] from 90? to 100.5 released", "b in [1] from 91?", "c in [0] from 100.5", "d in [2] from 101.9")
}

func TestALaneIsASlotWhereThereAreSlotsAndAHeavyLeaseHasSeveral(t *testing.T) {
	var l lanes
	l.observe(stateAt(100, lease.Holder{ID: "plain", AskedAt: at(98)}, lease.Holder{ID: "heavy", AskedAt: at(99), Weight: 3, Slots: []int{0, 1, 4}}))
	mustShow(t, &l, "plain in [2] from 98?", "heavy in [0 1 4] from 99?")
	if got := numbers([]int{0, 1, 2, 4, 6, 7}); got != "0–2, 4, 6–7" {
		t.Error(got)
	}
}

func TestLossesAndRevocationsAreToldFromReleases(t *testing.T) {
	var l lanes
	held := func(id string, expires float64, revoked bool) lease.Holder {
		return lease.Holder{ID: id, AskedAt: at(50), Expires: at(expires), Revoked: revoked}
	}
	l.observe(stateAt(100, held("lost", 104, false), held("released", 112, false), held("released late", 101, false), held("revoked", 114, false), held("node", 101, false)))
	l.live["node"].Owner = "" // not this library's: it renews nothing
	l.observe(stateAt(100.5, held("lost", 104, false), held("released late", 112, false), held("revoked", 114, true), held("node", 101, false)))
	l.live["node"].Owner = ""
	l.observe(stateAt(103, held("lost", 104, false)))
	l.observe(stateAt(105))
	mustShow(t, &l,
		"lost in [0] from 50? to 104 expired",
		"node in [4] from 50? to 101.75 released",
		"released in [1] from 50? to 100.25 released",
		"released late in [2] from 50? to 101.75 released",
		"revoked in [3] from 50? to 101.75 revoked")
	r := &record{lanes: l}
	h := &Handler{}
	picture := h.timeline(page{name: "gpu", span: 2 * time.Minute}, r, view.Semaphore{Capacity: 5, TTL: ttl.Seconds(), ServerTime: at(105)})
	red := 0
	for _, b := range picture.Blocks {
		if strings.Contains(b.Class, " lost") {
			red++
		}
	}
	if red != 2 || len(picture.Blocks) != 5 {
		t.Errorf("%d of %d are red", red, len(picture.Blocks))
	}
}

func TestWhatNobodySawIsSaid(t *testing.T) {
	var l lanes
	l.observe(stateAt(100, lease.Holder{ID: "a", AskedAt: at(99)}))
	l.observe(stateAt(101, lease.Holder{ID: "a", AskedAt: at(99)}))
	l.observe(stateAt(160, lease.Holder{ID: "b", AskedAt: at(120)})) // nobody looked for a minute
	mustShow(t, &l, "a in [0] from 99? to 160 released", "b in [0] from 120?")
	x := axis{at(60), 100 * time.Second}
	if got := blind(l.looked, x, at(160)); !slices.Equal(got, []stretch{{0, 40}, {41, 59}}) {
		t.Errorf("%v", got)
	}
	l.observe(stateAt(30, lease.Holder{ID: "b", AskedAt: at(20)})) // another server's clock
	if len(l.live) != 1 {
		t.Error("a step of the clock breaks it")
	}
}

func TestWhatIsOldIsForgotten(t *testing.T) {
	var l lanes
	for i := range pastSpans + 100 {
		l.observe(stateAt(float64(i)/100, lease.Holder{ID: fmt.Sprint(i)}))
	}
	if n := len(l.past); n > pastSpans {
		t.Errorf("%d spans are kept", n)
	}
	l.observe(stateAt(5000))
	if len(l.past) > 1 || len(l.live) > 0 || len(l.looked) > 1 || len(l.colors) > 10*colors {
		t.Errorf("an hour later: %d, %d, %d, %d", len(l.past), len(l.live), len(l.looked), len(l.colors))
	}
}

func TestTheWindowEndsAtTheExpiryAndTurnsWhenRenewalsStop(t *testing.T) {
	r := &record{}
	r.lanes.observe(stateAt(100, lease.Holder{ID: "fine", AskedAt: at(90), Expires: at(110)}, lease.Holder{ID: "late", AskedAt: at(90), Expires: at(103)}))
	h := &Handler{}
	picture := h.timeline(page{name: "gpu", span: 2 * time.Minute}, r, view.Semaphore{Capacity: 2, TTL: ttl.Seconds(), ServerTime: at(100)})
	for _, b := range picture.Blocks {
		seconds := b.Trust.Width / 100 * 135
		switch {
		case b.Key == "fine/0" && seconds > 9.9 && seconds < 10.1 && !strings.Contains(b.Class, "overdue"):
		case b.Key == "late/1" && seconds > 2.9 && seconds < 3.1 && strings.Contains(b.Class, "overdue"):
		default:
			t.Errorf("%+v: %v seconds are left", b, seconds)
		}
	}
}

func TestATrendHasStepsAndGaps(t *testing.T) {
	var p past
	for i, held := range []int{1, 1, 3, 3} {
		p.add(view.Semaphore{ServerTime: at(float64(i)), Held: held, Capacity: 4})
	}
	p.add(view.Semaphore{ServerTime: at(3), Held: 2, Capacity: 4}) // seen twice at once
	p.add(view.Semaphore{ServerTime: at(60), Held: 0, Capacity: 4, Waiting: 2})
	got := p.trend()
	if want := "M240.0 29.8H242.0V11.2H243.0V20.5H243.0V39.0H240.0ZM300.0 39.0H300.0V39.0H300.0Z"; got.Held != want {
		t.Errorf("held %s, want %s", got.Held, want)
	}
	if want := "M240.0 2.0H243.0M300.0 2.0H300.0"; got.Capacity != want {
		t.Errorf("capacity %s, want %s", got.Capacity, want)
	}
	p.add(view.Semaphore{ServerTime: at(1000)})
	if len(p.samples) != 1 {
		t.Errorf("%d samples are kept", len(p.samples))
	}
	p.add(view.Semaphore{ServerTime: at(10)}) // the server's clock has stepped back
	if len(p.samples) != 1 || p.trend().Held != "" {
		t.Errorf("%v", p.samples)
	}
}

func TestProcessesDisagreeWhereWhatTheyDeclareChangesBackAndForth(t *testing.T) {
	var l limits
	see := func(when float64, capacity int, ttl float64) bool {
		l.saw(view.Semaphore{Declared: capacity, TTL: ttl}, at(when))
		differ, _, _ := l.disagree(at(when))
		return differ
	}
	for i, c := range []struct {
		capacity int
		ttl      float64
		want     bool
	}{{8, 15, false}, {8, 15, false}, {0, 0, false}, {4, 15, false}, {4, 15, false}, {8, 15, true}, {8, 15, true}, {8, 30, true}} {
		if got := see(float64(i), c.capacity, c.ttl); got != c.want {
			t.Errorf("%d: %+v: %v", i, c, got)
		}
	}
	if differ, _, _ := l.disagree(at(400)); differ {
		t.Error("minutes later they still disagree")
	}
	l = limits{}
	if see(0, 8, 15) || see(1, 4, 15) || see(400, 8, 15) {
		t.Error("a deploy, and one back later, is a disagreement")
	}
	if m := marks(view.Semaphore{State: view.OK}, &limits{now: declared{8, 15}, before: declared{4, 15}, disagreed: time.Now()}); len(m) != 2 || m[1].Text != "disagree 4/8" {
		t.Errorf("%+v", m)
	}
}

func TestTheBarHasHeldFreeAndWaiting(t *testing.T) {
	for _, c := range []struct {
		v    view.Semaphore
		want bar
	}{
		{view.Semaphore{Capacity: 100, Held: 50, Waiting: 50}, bar{Held: 37, Free: 37, Waiting: 11.5}},
		{view.Semaphore{Capacity: 100, Held: 200, Waiting: 900}, bar{Held: 74, Waiting: 23}},
		{view.Semaphore{Waiting: 3}, bar{Waiting: 23}},
	} {
		if got := barOf(c.v); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%+v: %+v, want %+v", c.v, got, c.want)
		}
	}
	if got := barOf(view.Semaphore{Capacity: 4, Held: 1}); len(got.Cells) != 4 || !got.Cells[0].Held || got.Cells[1].Held || got.Cells[3].X != 55.5 {
		t.Errorf("%+v", got.Cells)
	}
}

func TestShortLeasesBecomeOneBlock(t *testing.T) {
	r := &record{}
	for i := range 120 {
		state := stateAt(float64(i), lease.Holder{ID: fmt.Sprint("short", i), AskedAt: at(float64(i) - 0.1)}, lease.Holder{ID: fmt.Sprint("long", i/10), AskedAt: at(float64(i/10*10) - 0.1)})
		r.lanes.observe(state)
		if i == 60 {
			r.lanes.revoke("short60")
		}
	}
	h := &Handler{}
	picture := h.timeline(page{name: "gpu", span: 2 * time.Minute}, r, view.Semaphore{Capacity: 2, TTL: ttl.Seconds(), ServerTime: at(119)})
	// Two stretches of short ones and the revoked one between them; twelve long ones; what is held.
	if n := len(picture.Blocks); n < 15 || n > 20 {
		t.Errorf("%d blocks", n)
	}
	for _, b := range picture.Blocks {
		if b.Many > 0 && strings.Contains(b.Class, "lost") || strings.HasPrefix(b.Key, "long") && b.Many > 0 {
			t.Errorf("%+v", b)
		}
	}
}
