package protocol

import (
	"cmp"
	"slices"
	"time"
)

// third is the time between two renewals: a third of the window, a little less in some processes than
// in others.
func (d *State) third() time.Duration { return time.Duration(float64(d.Window/3) * d.pace) }

// early is how much before its time a renewal may be taken along.
func (d *State) early() time.Duration { return min(50*time.Millisecond, d.Window/8) }

func (d *State) RenewalDue(now Instant) bool { return Due(now.Add(d.early()), d.RenewAt) }

// renewed takes the answer to a renewal.
func (d *State) renewed(now Instant, ex *Batch, c *Call, current bool) {
	end := WindowEnd(ex.Sent, c.Expiry, c.Server, d.Config.Margin+ex.Behind)
	d.status(now, c)
	lost := c.Lost
	if d.Watched {
		d.happened(now, nil, Event{Kind: EventRenewed, Leases: len(c.Grants) - len(lost), Slack: slackOf(now, c.Grants)})
	}
	for i, g := range c.Grants {
		why, isLost := Removed, false
		if n := int64(i + 1); len(lost) > 0 && (lost[0] == n || lost[0] == -n) {
			isLost = true
			if lost[0] < 0 {
				why = Revoked
			}
			lost = lost[1:]
		}
		switch {
		case g.State != Held:
		case isLost:
			d.Lose(now, g, why)
		default:
			if end.Mono > g.Until.End().Mono {
				g.Until.set(end)
			}
			if g.waiter != nil && !now.Reached(end) {
				d.serve(now, g)
			}
		}
	}
	if current && len(d.held) > 0 {
		next := ex.Sent.Add(d.third())
		if !ex.rest.IsZero() {
			next = ex.rest
		}
		d.RenewAt = earlier(d.RenewAt, next)
	}
}

// slackOf is what is left of the shortest window of those that are held.
func slackOf(now Instant, grants []*Grant) (slack time.Duration) {
	for _, g := range grants {
		if left := now.Until(g.Until.End()); g.State == Held && (slack == 0 || left < slack) {
			slack = left
		}
	}
	return slack
}

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
