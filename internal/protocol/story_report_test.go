package protocol

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// reported is what the report has said of permits already.
type reported struct {
	windows  map[*Grant]Instant
	held     map[*Grant]bool
	releases map[*Grant]release
}

// A release is still to be sent.
type release struct {
	at       Instant
	deferred bool
}

func newReported() reported {
	return reported{windows: map[*Grant]Instant{}, held: map[*Grant]bool{}, releases: map[*Grant]release{}}
}

// describe says what a batch asks Redis for, and gives labels to the ids that are new.
func (s *story) describe(batch *Batch) string {
	var b strings.Builder
	fmt.Fprintf(&b, "batch %d is sent, and given up at %v\n", len(s.batches), s.time(batch.giveUp))
	for i := range batch.Calls {
		c := &batch.Calls[i]
		var names []string
		for j, g := range c.Grants {
			name := s.label(g)
			switch {
			case c.Verb != Acquire:
			case c.Ages[j] == Once:
				name += " (once)"
			case c.Ages[j] == Again:
				name += " (anew)"
			case j < c.Stood:
				name += fmt.Sprintf(" (since %v, has a place)", s.elapsed(s.now)-micros(c.Ages[j]))
			default:
				name += fmt.Sprintf(" (since %v)", s.elapsed(s.now)-micros(c.Ages[j]))
			}
			names = append(names, name)
		}
		fmt.Fprintf(&b, "  %v %s%s\n", c.Verb, cmp.Or(strings.Join(names, ", "), "nobody"), s.flagsOf(batch, c))
	}
	return b.String()
}

// flagsOf says how a call is made.
func (s *story) flagsOf(batch *Batch, c *Call) string {
	var flags []string
	for _, f := range []struct {
		set  bool
		text string
	}{
		{c.Verb == Acquire && batch.poll, "poll"},
		{c.Plain(), "plain"},
		{c.Strict, "strict"},
		{c.MayBeQueued, "out of the queue too"},
		{c.Promote, "promote who waits"},
		{c.Look, "look whether anybody waits"},
		{c.Refresh, "refresh the queue"},
		{c.Capacity > 0, fmt.Sprintf("by a capacity of %d", c.Capacity)},
	} {
		if f.set {
			flags = append(flags, f.text)
		}
	}
	if c.AfterPlace > 0 {
		flags = append(flags, fmt.Sprintf("those without a place stand behind %v", s.place(c.AfterPlace)))
	}
	if len(flags) == 0 {
		return ""
	}
	return ": " + strings.Join(flags, ", ")
}

// label is the name of a permit in the story.
func (s *story) label(g *Grant) string {
	if label := s.permits[g.ID]; label != "" {
		return label
	}
	for _, c := range s.callers {
		if c.waiter == g.waiter {
			c.ids++
			s.permits[g.ID] = c.name
			if c.ids > 1 {
				s.permits[g.ID] = fmt.Sprintf("%s.%d", c.name, c.ids)
			}
		}
	}
	return s.permits[g.ID]
}

// report says what has changed since the report before, and when the state is to be called next.
func (s *story) report() string {
	effects := s.TakeEffects()
	var b strings.Builder
	s.reportWaits(&b)
	for _, h := range effects.Ends {
		fmt.Fprintf(&b, "the lease of %s ends: %s\n", s.holderOf(h), reasonText(h.Ending))
	}
	s.reportWindows(&b, effects.Ends)
	s.reportReleases(&b)
	for _, w := range effects.Warnings {
		b.WriteString(warningText(w))
	}
	for _, e := range effects.Events {
		fmt.Fprintf(&b, "event: %s\n", eventText(s, e))
	}
	switch next := s.Next(); {
	case s.Idle():
		b.WriteString("idle\n")
	case s.Wants(s.now):
		b.WriteString("wants to send now\n")
	case next.IsZero():
		b.WriteString("waits for a call\n")
	default:
		fmt.Fprintf(&b, "next call at %v\n", s.time(next))
	}
	return b.String()
}

// reportWaits says who was served, who failed, and who has come to stand in the queue.
func (s *story) reportWaits(b *strings.Builder) {
	for _, c := range s.callers {
		w := c.waiter
		over := isClosed(w.Done)
		switch g := w.grant; {
		case over && !c.told && w.Failed != nil:
			fmt.Fprintf(b, "%s fails: %s\n", c.name, reasonText(w.Failed))
		case over && !c.told:
			g := w.Holding.Grant
			s.reported.windows[g] = g.Until.End()
			slots := ""
			if g.Slots != nil {
				slots = fmt.Sprintf(" with slots %v", g.Slots)
			}
			fmt.Fprintf(b, "%s gets permit %s%s, trusted until %v\n", c.name, s.label(g), slots, s.time(g.Until.End()))
		case !over && g != nil && g.inQueue && w.place != 0 && c.place != w.place:
			c.place = w.place
			fmt.Fprintf(b, "%s waits in the queue, place %v\n", c.name, s.place(w.place))
		}
		c.told = over
	}
}

// reportWindows says which permits are trusted for longer or shorter than before, which are kept for a waiter that
// must not have them before they are renewed, and which are lost without a lease that ends.
func (s *story) reportWindows(b *strings.Builder, ended []*Holding) {
	for _, g := range s.sorted(s.held) {
		end := g.Until.End()
		if before, seen := s.reported.windows[g]; seen && before == end {
			continue
		}
		s.reported.windows[g] = end
		if g.waiter != nil {
			fmt.Fprintf(b, "permit %s is renewed before its waiter gets it, trusted until %v\n", s.label(g), s.time(end))
		} else {
			fmt.Fprintf(b, "permit %s is trusted until %v\n", s.label(g), s.time(end))
		}
	}
	var others []*Grant
	for g := range s.reported.windows {
		if g.State != Held {
			others = append(others, g)
		}
	}
	for _, g := range s.sorted(others) {
		if end := g.Until.End(); s.reported.windows[g] != end {
			fmt.Fprintf(b, "permit %s is not held, and trusted until %v\n", s.label(g), s.time(end))
			s.reported.windows[g] = end
		}
		isEnd := func(h *Holding) bool { return h.Grant == g }
		if s.reported.held[g] && !slices.Contains(s.releasing, g) && !slices.ContainsFunc(ended, isEnd) {
			fmt.Fprintf(b, "permit %s is not held any more\n", s.label(g))
		}
	}
	clear(s.reported.held)
	for _, g := range s.held {
		s.reported.held[g] = true
	}
}

// reportReleases says how releases went, and which permits are still to be released.
func (s *story) reportReleases(b *strings.Builder) {
	for _, c := range s.callers {
		if h := c.waiter.Holding; h.Confirmed != nil && isClosed(h.Confirmed) && !c.freed {
			c.freed = true
			if h.Result == nil {
				fmt.Fprintf(b, "the release of %s is confirmed\n", c.name)
			} else {
				fmt.Fprintf(b, "the release of %s returns: %s\n", c.name, reasonText(h.Result))
			}
		}
	}
	due := map[*Grant]release{}
	for _, g := range s.sorted(s.releasing) {
		due[g] = release{g.releaseAt, g.deferred}
		if before, known := s.reported.releases[g]; known && before == due[g] {
			continue
		}
		when := fmt.Sprintf("at %v", s.time(g.releaseAt))
		if g.deferred {
			when = "with the next batch, or " + when
		} else if s.now.Reached(g.releaseAt) {
			when = "now"
		}
		fmt.Fprintf(b, "permit %s is to be released %s\n", s.label(g), when)
	}
	var over []*Grant
	for g := range s.reported.releases {
		if _, left := due[g]; !left {
			over = append(over, g)
		}
	}
	for _, g := range s.sorted(over) {
		fmt.Fprintf(b, "permit %s needs no release any more\n", s.label(g))
	}
	s.reported.releases = due
}

// schedule says when the state means to do what.
func (s *story) schedule(*arguments) (string, error) {
	var parts []string
	for _, p := range []struct {
		what string
		at   Instant
	}{
		{"renewal", s.RenewAt}, {"poll", s.pollAt}, {"first request", s.joinAt}, {"release", s.releaseDue}, {"promotion", s.promoteAt}, {"end of a window", s.EndAt},
	} {
		if !p.at.IsZero() {
			parts = append(parts, fmt.Sprintf("%s at %v", p.what, s.time(p.at)))
		}
	}
	return "planned: " + cmp.Or(strings.Join(parts, ", "), "nothing") + "\n", nil
}

// sorted is a list in the order of its labels: the state keeps it in an order that says nothing.
func (s *story) sorted(list []*Grant) []*Grant {
	return slices.SortedFunc(slices.Values(list), func(a, b *Grant) int { return cmp.Compare(s.label(a), s.label(b)) })
}

func (s *story) holderOf(h *Holding) string {
	for _, c := range s.callers {
		if c.waiter.Holding == h {
			return c.name
		}
	}
	return "nobody"
}
