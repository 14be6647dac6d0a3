package protocol

import (
	"cmp"
	"slices"
	"time"
)

// bound is how long an exchange may take until it is given up: what the server has lately needed, twice; half of the
// window at most, and less where another that takes as long would not fit into the rest of the window. After one that
// failed it is twice what the way takes. Where nothing is held, there is no window to be kept: a server that has never
// answered has to be connected to first, and one that suddenly is far away gets more time with each attempt.
func (d *State) bound() time.Duration {
	least := d.Config.Attempt()
	if len(d.held) == 0 {
		if d.Needed == 0 {
			least = maxAttempt
		}
		least = min(least<<min(d.failures, 3), maxAttempt)
	}
	longest := max(least, 2*d.Needed)
	if d.failures > 0 && len(d.held) > 0 {
		longest = 2 * d.trip // the connection may be dead, and so may be the others that are idle
	}
	return max(d.Config.Attempt(), min(longest, d.roomForTwo(), d.Window/2))
}

// roomForTwo is how long an exchange may take so that another fits into the window, if that takes as long as the server
// has lately needed: a renewal begins after a third of the window, and a 24th is for the delay between the two. Where the
// server needs too long for that, it gets a quarter more than it needs.
func (d *State) roomForTwo() time.Duration { return max(d.Window*5/8-d.Needed, d.Needed*5/4) }

// patience is how long the client may go on with an exchange that was given up. What comes late still counts, tells how
// long the server needs, and leaves a connection: where the server is far away, to make one takes several round trips,
// and must not begin from the start with each attempt.
func (d *State) Patience() time.Duration {
	if d.Needed == 0 || d.Needed > d.Config.Attempt()/4 {
		return d.Window
	}
	return 4 * d.Config.Attempt()
}

// What is held is renewed in one exchange while that is quickly answered, and otherwise in parts.
const (
	firstPart = 20_000 // permits
	leastPart = 1000   // as many as one lease may have
	mostPart  = 1 << 20
)

// addRenewals has what is held renewed: all of it, or those leases whose windows end first, if it is much. What is left
// over goes with the exchange after this one.
func (d *State) addRenewals(now Instant, ex *Batch) {
	d.dropOrphans(now)
	d.RenewAt = Instant{}
	due := d.held
	if d.weight > d.part {
		due = slices.Clone(d.held)
		slices.SortFunc(due, func(a, b *Grant) int { return cmp.Compare(a.Until.End().Mono, b.Until.End().Mono) })
	}
	for _, g := range due {
		if ex.Renews > 0 && ex.Renews+int(g.Weight) > d.part {
			ex.rest = g.Until.End().Add(d.third() - d.Window)
			return
		}
		ex.add(Renew, g).SetBack = d.SetBack
		ex.Renews += int(g.Weight)
	}
	d.SetBack = false // a step that is found from now on may come after what is sent
}

// learnPart sees to the size of the next part, by how long this one took beside the way there and back: a server that is
// far away is no quicker with a smaller one. An exchange that was given up took too long, and so did one that was slow;
// but where as many permits were renewed in good time before, something else may have been the reason, once.
func (d *State) learnPart(now Instant, ex *Batch) {
	if ex.Renews == 0 {
		return
	}
	work, bound := now.Mono-ex.Sent.Mono-d.trip, ex.giveUp.Mono-ex.Sent.Mono
	if work <= bound/2 {
		d.proven = max(d.proven, ex.Renews)
		if work < bound/8 && ex.Renews > d.part/2 {
			d.part = min(2*d.part, mostPart)
		}
		return
	}
	if ex.Renews > d.proven {
		d.part = max(ex.Renews/2, leastPart)
	}
	d.proven = min(d.proven, ex.Renews/2)
}

// learnLate takes it that a part was answered after it had been given up. Where the next attempt may take as long, as
// many permits may go with it.
func (d *State) learnLate(now Instant, ex *Batch) {
	if now.Mono-ex.Sent.Mono <= d.Window/2 {
		d.part, d.proven = max(d.part, ex.Renews), max(d.proven, ex.Renews)
	}
}

// learnTrip takes it that an answer took d: a quicker one counts at once, a slower one by and by.
func (d *State) learnTrip(took time.Duration) {
	if d.trip == 0 || took < d.trip {
		d.trip = max(took, 1)
		return
	}
	d.trip += (took - d.trip) / 8
}

// isAnswered reports whether the server answered any call of ex.
func (ex *Batch) IsAnswered() bool {
	return slices.ContainsFunc(ex.Calls, func(c Call) bool { return c.Failure.Err == nil })
}
