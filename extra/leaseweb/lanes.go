package leaseweb

import (
	"cmp"
	"slices"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// Lanes are who held the permits of one semaphore, from when to when, as far as somebody looked. There is a lane for each
// slot, or for each permit.
type lanes struct {
	live   map[string]*span // by id
	past   []*span          // that have ended, by their end
	looked []period         // by the server's clock
	taken  []bool           // lane → a span of live has it
	colors map[string]int   // of owners, in the order in which they were seen
}

// A span is one lease.
type span struct {
	lease.Holder
	Lanes   []int // ascending
	Color   int
	From    time.Time // by the server's clock, unless Guessed
	Guessed bool      // it was held when somebody looked first; From is when it was asked for, by the holder's clock
	Seen    time.Time // last
	End     time.Time // zero: it is held
	How     ending
	Revoked time.Time // when that was seen first
}

type ending int

const (
	released ending = iota
	expired         // no renewal came: it is lost
	revoked
)

type period struct{ from, to time.Time }

const (
	// gap is how far two looks may be apart for what happened between them to be known.
	gap = 5 * time.Second
	// pastSpans is how many spans that have ended are kept.
	pastSpans = 5000
)

// observe compares a state with the one before.
func (l *lanes) observe(s *lease.State) {
	now := s.ServerTime
	n := len(l.looked)
	watched := n > 0 && now.Sub(l.looked[n-1].to) < gap && !now.Before(l.looked[n-1].to)
	change := now // when what has changed since the last look did so, about
	if watched {
		change = now.Add(-now.Sub(l.looked[n-1].to) / 2)
		l.looked[n-1].to = now
	} else {
		l.looked = append(l.looked, period{now, now})
	}
	if l.live == nil {
		l.live = map[string]*span{}
	}
	l.color(s)
	held := make(map[string]bool, len(s.Holders))
	for _, h := range s.Holders {
		held[h.ID] = true
	}
	for id, one := range l.live {
		if !held[id] {
			l.end(one, s.OtherTTL, change, now)
		}
	}
	slices.SortFunc(l.past, func(a, b *span) int { return a.End.Compare(b.End) })
	l.forget(now)
	for _, withSlots := range []bool{true, false} { // whose lane is given, first
		for _, h := range s.Holders {
			if (len(h.Slots) > 0) == withSlots {
				l.see(h, change, now, watched)
			}
		}
	}
}

// color gives each process a colour.
func (l *lanes) color(s *lease.State) {
	if l.colors == nil || len(l.colors) > 10*colors+len(s.Holders)+len(s.Waiters) { // most have gone
		l.colors = map[string]int{}
	}
	see := func(owner string) {
		if _, known := l.colors[owner]; !known {
			l.colors[owner] = len(l.colors) % colors
		}
	}
	for _, h := range s.Holders {
		see(h.Owner)
	}
	for _, w := range s.Waiters {
		see(w.Owner)
	}
}

// see notes a holder that holds now.
func (l *lanes) see(h lease.Holder, change, now time.Time, watched bool) {
	one := l.live[h.ID]
	if one == nil {
		one = &span{From: change, Color: l.colors[h.Owner]}
		switch {
		case !watched:
			one.Guessed = true
			if !h.AskedAt.IsZero() && h.AskedAt.Before(now) {
				one.From = h.AskedAt
			}
		case h.AskedAt.After(change) && h.AskedAt.Before(now):
			one.From = h.AskedAt
		}
		l.live[h.ID] = one
		one.Lanes = l.assign(h)
	} else if len(h.Slots) > 0 && !slices.Equal(one.Lanes, h.Slots) {
		l.free(one)
		one.Lanes = l.assign(h)
	}
	one.Holder, one.Seen = h, now
	if h.Revoked && one.Revoked.IsZero() {
		one.Revoked = now
	}
}

// revoke notes that the lease with an id was taken away, if it is one that is held.
func (l *lanes) revoke(id string) {
	if one := l.live[id]; one != nil && one.Revoked.IsZero() {
		one.Revoked = one.Seen
	}
}

// end notes that a span is over. It was lost where its renewals had stopped and its time is up. What is not this library's
// renews nothing, so that says nothing.
func (l *lanes) end(one *span, ttl time.Duration, change, now time.Time) {
	l.free(one)
	delete(l.live, one.ID)
	one.End = later(change, one.From)
	switch {
	case !one.Revoked.IsZero():
		one.How = revoked
	case one.Owner != "" && !one.Expires.After(now) && overdue(one.Expires, one.Seen, ttl):
		one.How, one.End = expired, one.Expires
	}
	l.past = append(l.past, one)
}

// overdue reports whether a renewal should have come by now. One comes when a third of the window has passed.
func overdue(expires, now time.Time, ttl time.Duration) bool {
	return ttl > 0 && expires.Sub(now) < ttl/2
}

// assign finds lanes for a holder: its slots, or the first that are free.
func (l *lanes) assign(h lease.Holder) []int {
	lanes := slices.Clone(h.Slots)
	for lane := 0; len(lanes) < h.Weight; lane++ {
		if (lane >= len(l.taken) || !l.taken[lane]) && !slices.Contains(lanes, lane) {
			lanes = append(lanes, lane)
		}
	}
	slices.Sort(lanes)
	for _, lane := range lanes {
		if lane >= len(l.taken) {
			l.taken = append(l.taken, make([]bool, lane+1-len(l.taken))...)
		}
		l.taken[lane] = true
	}
	return lanes
}

func (l *lanes) free(one *span) {
	for _, lane := range one.Lanes {
		l.taken[lane] = false
	}
}

// forget drops what is too old for the widest picture, and the oldest where there is too much.
func (l *lanes) forget(now time.Time) {
	oldest := now.Add(-spans[len(spans)-1])
	l.past = slices.DeleteFunc(l.past, func(s *span) bool { return s.End.Before(oldest) })
	if n := len(l.past) - pastSpans; n > 0 {
		l.past = slices.Delete(l.past, 0, n)
	}
	l.looked = slices.DeleteFunc(l.looked, func(p period) bool { return p.to.Before(oldest) })
}

// spans are all that a picture may show, by their begin.
func (l *lanes) spans() []*span {
	all := slices.Clone(l.past)
	for _, one := range l.live {
		all = append(all, one)
	}
	slices.SortFunc(all, func(a, b *span) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.ID, b.ID)) })
	return all
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
