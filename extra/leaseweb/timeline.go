package leaseweb

import (
	"fmt"
	"slices"
	"time"

	"github.com/eqworks/passbuddy/internal/view"
)

// A timeline is a picture of lanes: from some minutes ago to the end of the trust windows. Its widths are hundredths of its
// width.
type timeline struct {
	Height int
	Lanes  []lane
	Blocks []block
	Blind  []stretch // nobody looked
	Ticks  []tick
	Now    float64
	Text   string // for people who do not see it
	Spans  []link
	Pager  pager

	number, total int         // of the lanes' page, and of lanes
	latest        map[int]int // lane → the block that was added last
}

type lane struct {
	Number  int
	Y, Text int
}

// A block is one lease in neighbouring lanes.
type block struct {
	Key          string
	X, Width     float64
	Y, Height    int
	Class, Label string
	Title        string // constant while the lease lives: a tooltip that changes disappears
	Trust        *window
	Keep         bool // it is held, or was lost: it stays alone
	Many         int  // leases that are one block; 0: it is a single one
}

type stretch struct{ X, Width float64 }

// A window is what remains until a lease expires.
type window struct {
	stretch
	Y, Height int
	Class     string
}

type tick struct {
	X      float64
	Text   string
	Anchor string
}

type link struct {
	Text, Href string
	Current    bool
}

const (
	laneHeight = 22
	laneTop    = 20 // under the ticks' texts

	short = 1.0 // the width below which blocks become one, in hundredths
)

// An axis turns times into hundredths of the width.
type axis struct {
	begin time.Time
	whole time.Duration
}

func (a axis) at(t time.Time) float64 {
	x := 100 * float64(t.Sub(a.begin)) / float64(a.whole)
	return float64(int(100*min(100, max(0, x)))) / 100
}

func (a axis) stretch(from, to time.Time) stretch {
	x := a.at(from)
	return stretch{x, a.at(to) - x}
}

// timeline draws what is known of a semaphore. The source's mu is held.
func (h *Handler) timeline(p page, r *record, v view.Semaphore) timeline {
	l, now := &r.lanes, v.ServerTime
	ahead := min(max(seconds(v.TTL), time.Second), p.span/4)
	x := axis{now.Add(-p.span), p.span + ahead}
	t := timeline{Now: x.at(now), total: max(v.Capacity, v.Declared, len(l.taken))}
	t.number = min(p.lanes, max(0, (t.total-1)/perView))
	first := t.number * perView
	last := min(first+perView, t.total) // exclusive
	t.Height = laneTop + laneHeight*(last-first)
	for lane := first; lane < last; lane++ {
		t.Lanes = append(t.Lanes, laneOf(lane, first))
	}
	t.Ticks = ticks(x, now, p.span, ahead)
	t.Blind = blind(l.looked, x, now)
	shown := 0
	for _, one := range l.spans() {
		if !one.End.IsZero() && one.End.Before(x.begin) {
			continue
		}
		shown++
		for i := 0; i < len(one.Lanes); {
			j := i
			for j+1 < len(one.Lanes) && one.Lanes[j+1] == one.Lanes[j]+1 {
				j++
			}
			if from, to := max(one.Lanes[i], first), min(one.Lanes[j], last-1); from <= to {
				t.add(blockOf(one, x, now, seconds(v.TTL), from-first, to-from+1))
			}
			i = j + 1
		}
	}
	t.Text = fmt.Sprintf("Who held the permits in the last %s: %d lanes, %d leases. The table of leases has the same in words.", brief(p.span), t.total, shown)
	for _, span := range spans {
		q := p
		q.span = span
		t.Spans = append(t.Spans, link{brief(span), h.href(q), span == p.span})
	}
	return t
}

// add adds a block. Short ones that follow each other in a lane become one: a semaphore whose leases last for less than a
// second has thousands.
func (t *timeline) add(b block) {
	lane := slices.IndexFunc(t.Lanes, func(l lane) bool { return l.Y+2 == b.Y })
	if b.Height == laneHeight-4 && b.Width < short && !b.Keep {
		if i, has := t.latest[lane]; has {
			last := &t.Blocks[i]
			if !last.Keep && (last.Many > 0 || last.Width < short) && b.X-last.X-last.Width < short {
				last.Many = max(last.Many, 1) + 1
				last.Width = b.X + b.Width - last.X
				last.Class, last.Label, last.Title = "many", "", "short leases, one after the other"
				return
			}
		}
	}
	if t.latest == nil {
		t.latest = map[int]int{}
	}
	t.latest[lane] = len(t.Blocks)
	t.Blocks = append(t.Blocks, b)
}

func laneOf(number, first int) lane {
	y := laneTop + laneHeight*(number-first)
	return lane{number, y, y + laneHeight/2 + 4}
}

// blockOf draws a lease that takes so many lanes from one on.
func blockOf(one *span, x axis, now time.Time, ttl time.Duration, lane, lanes int) block {
	end := one.End
	if end.IsZero() {
		end = now
	}
	at := x.stretch(one.From, end)
	b := block{
		Key: fmt.Sprintf("%s/%d", one.ID, lane), X: at.X, Width: max(at.Width, 0.25),
		Y: laneTop + laneHeight*lane + 2, Height: laneHeight*lanes - 4,
		Class: fmt.Sprintf("c%d", one.Color)}
	if b.Width > 3 { // else there is no room
		b.Label = labelOf(one)
	}
	said := "since "
	if one.Guessed {
		said = "asked for at "
	}
	b.Title = fmt.Sprintf("id %s\nowner %s\n%s%s", clean(one.ID), orDash(clean(one.Owner)), said, one.From.UTC().Format("15:04:05 UTC"))
	if one.Label != "" {
		b.Title = "label " + clean(one.Label) + "\n" + b.Title
	}
	if one.Guessed {
		b.Class += " guessed"
	}
	b.Keep = one.End.IsZero() || one.How != released
	switch {
	case one.End.IsZero() && one.Holder.Revoked:
		b.Class += " lost"
		b.Title += "\nrevoked; its holder has not given it back yet"
	case one.End.IsZero():
		b.Trust = &window{stretch: x.stretch(now, one.Expires), Y: b.Y, Height: b.Height, Class: b.Class}
		if one.Owner != "" && overdue(one.Expires, now, ttl) {
			b.Class += " overdue"
		}
	default:
		b.Class += " ended"
		how := "given back"
		switch one.How {
		case expired:
			b.Class, how = b.Class+" lost", "LOST: no renewal came; expired"
		case revoked:
			b.Class, how = b.Class+" lost", "REVOKED; gone"
		}
		b.Title += "\n" + how + " at " + one.End.UTC().Format("15:04:05 UTC")
	}
	return b
}

// blind are the stretches before now in which nobody looked.
func blind(looked []period, x axis, now time.Time) (all []stretch) {
	end := x.begin
	for _, p := range looked {
		if p.from.After(end) {
			all = append(all, x.stretch(end, p.from))
		}
		end = later(end, p.to)
	}
	if now.Sub(end) > gap {
		all = append(all, x.stretch(end, now))
	}
	return all
}

func ticks(x axis, now time.Time, span, ahead time.Duration) []tick {
	all := []tick{{x.at(now.Add(-span)), "−" + brief(span), "start"}}
	for i := time.Duration(3); i > 0; i-- {
		all = append(all, tick{x.at(now.Add(-span * i / 4)), "−" + brief(span*i/4), "middle"})
	}
	all = append(all, tick{x.at(now), "now", "middle"})
	return append(all, tick{x.at(now.Add(ahead)), "+" + brief(ahead), "end"})
}

// brief is a duration without its zeros: 2m, 90s.
func brief(d time.Duration) string {
	switch {
	case d%time.Minute == 0:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d%time.Second == 0:
		return fmt.Sprintf("%d s", d/time.Second)
	}
	return view.Brief(d)
}

// labelOf is what stands in a block.
func labelOf(s *span) string {
	if s.Label != "" {
		return s.Label
	}
	if s.Owner != "" {
		return s.Owner
	}
	return s.ID
}

func orDash(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// colors is how many colours there are for processes; page.css has them.
const colors = 6
