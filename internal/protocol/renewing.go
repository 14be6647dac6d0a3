package protocol

import (
	"cmp"
	"slices"
	"time"
)

// third is the time between two renewals: a third of the window, a little less in some processes than
// in others.
func (s *State) third() time.Duration { return time.Duration(float64(s.Window/3) * s.pace) }

// early is how much before its time a renewal may be taken along.
func (s *State) early() time.Duration { return min(50*time.Millisecond, s.Window/8) }

// RenewalDue reports whether what is held is to be renewed now, or soon enough to go along.
func (s *State) RenewalDue(now Instant) bool { return Due(now.Add(s.early()), s.RenewAt) }

// RenewNow has all that is held renewed with the next batch.
func (s *State) RenewNow(now Instant) {
	if len(s.held) > 0 {
		s.RenewAt = now
	}
}

// renewed handles the answer to a renewal: it moves the windows, and ends the leases whose permits are gone.
func (s *State) renewed(now Instant, batch *Batch, c *Call, current bool) {
	end := WindowEnd(batch.Sent, c.Expiry, c.Server, s.Config.Margin+c.ClockAhead)
	s.takeStatus(now, c)
	lost := c.Lost
	missing := s.unacknowledged(batch)
	if s.Watched && missing == nil {
		if slack, held := slackOf(now, c.Grants); held > len(lost) {
			s.happened(Event{Kind: EventRenewed, Leases: held - len(lost), Slack: slack, Window: s.Window})
		}
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
		case g.State != Held: // its window ended before this answer came: no answer brings a lease back
		case isLost:
			s.Lose(now, g, why)
		case batch.short(g) != nil:
		default:
			if end.Mono > g.Until.End().Mono {
				g.Until.set(end)
				g.acknowledged = int32(batch.Acknowledged)
			}
			if g.waiter != nil && !now.Reached(end) {
				s.serve(now, g)
			}
			s.keepSlots(now, g, c.Server)
		}
	}
	if c.Lifetime {
		s.keepAt = batch.Sent.Add(keepEvery)
	}
	if missing != nil {
		s.notRenewed(now, c, missing)
		return
	}
	if current && len(s.held) > 0 {
		next := batch.Sent.Add(s.third())
		switch {
		case c.TTL < s.Config.TTL.Milliseconds(): // it was sent before the TTL became longer
			next = now
		case !batch.nextPartAt.IsZero():
			next = batch.nextPartAt
		default:
			s.leastTTL = 0
		}
		s.RenewAt = earlier(s.RenewAt, next)
	}
}

// slackOf is what is left of the shortest window of those that are held, and how many are.
func slackOf(now Instant, grants []*Grant) (slack time.Duration, held int) {
	for _, g := range grants {
		if g.State == Held {
			left := now.Until(g.Until.End())
			if held++; held == 1 || left < slack {
				slack = left
			}
		}
	}
	return slack, held
}

// bound is how long a batch may take until it is given up: what the server has lately needed, twice; half of the
// window at most, and less where another that takes as long would not fit into the rest of the window. After one that
// failed it is twice what the way takes. Where nothing is held, there is no window to be kept: a server that has never
// answered has to be connected to first, and one that suddenly is far away gets more time with each attempt.
func (s *State) bound() time.Duration {
	least, window := s.Config.Attempt(), s.Window
	if s.leastTTL > 0 { // windows are left that are shorter
		least, window = min(least, s.leastTTL/8), min(window, s.leastTTL*3/4)
	}
	attempt := least
	if len(s.held) == 0 {
		if s.Needed == 0 {
			least = maxAttempt
		}
		least = min(least<<min(s.failures, 3), maxAttempt)
	}
	longest := max(least, 2*s.Needed)
	if s.failures > 0 && len(s.held) > 0 {
		longest = 2 * s.trip // the connection may be dead, and so may be the others that are idle
	}
	return max(attempt, min(longest, s.roomForTwo(window), window/2))
}

// roomForTwo is how long a batch may take so that another fits into the window, if that takes as long as the server
// has lately needed: a renewal begins after a third of the window, and a 24th is for the delay between the two. Where the
// server needs too long for that, it gets a quarter more than it needs.
func (s *State) roomForTwo(window time.Duration) time.Duration {
	return max(window*5/8-s.Needed, s.Needed*5/4)
}

// What is held is renewed in one batch while that is quickly answered, and otherwise in parts.
const (
	firstPart = 20_000 // permits
	leastPart = 1000   // as many as one lease may have
	mostPart  = 1 << 20
)

// keepEvery is how often a renewal sees to the lifetime of the permits' key, which is a day and an hour.
const keepEvery = 50 * time.Minute

// addRenewals has what is held renewed: all of it, or those leases whose windows end first, if it is much. What is left
// over goes with the batch after this one.
func (s *State) addRenewals(now Instant, batch *Batch) {
	s.dropOrphans(now)
	s.RenewAt = Instant{}
	due := s.held
	if s.weight > s.part {
		due = slices.Clone(s.held)
		slices.SortFunc(due, func(a, b *Grant) int { return cmp.Compare(a.Until.End().Mono, b.Until.End().Mono) })
	}
	for _, g := range due {
		if batch.Renews > 0 && batch.Renews+int(g.Weight) > s.part {
			batch.nextPartAt = g.Until.End().Add(s.third() - s.Window)
			return
		}
		c := batch.add(Renew, g, 0, false)
		c.TTL, c.Lifetime = s.Config.TTL.Milliseconds(), s.keepAt.IsZero() || now.Reached(s.keepAt)
		batch.Renews += int(g.Weight)
	}
}

// learnPart sets the size of the next part by how long this one took, less the round trip: a server that is far away is
// no quicker with a smaller part. A batch that was given up took too long, and so did one that was slow; but where as
// many permits were renewed in good time before, the first such batch may have had another reason.
func (s *State) learnPart(now Instant, batch *Batch) {
	if batch.Renews == 0 {
		return
	}
	work, bound := now.Mono-batch.Sent.Mono-s.trip, batch.giveUp.Mono-batch.Sent.Mono
	if work <= bound/2 {
		s.proven = max(s.proven, batch.Renews)
		if work < bound/8 && batch.Renews > s.part/2 {
			s.part = min(2*s.part, mostPart)
		}
		return
	}
	if batch.Renews > s.proven {
		s.part = max(batch.Renews/2, leastPart)
	}
	s.proven = min(s.proven, batch.Renews/2)
}

// learnLate records that a part was answered after it had been given up. If the next attempt may take as long, it may
// renew as many permits.
func (s *State) learnLate(now Instant, batch *Batch) {
	if now.Mono-batch.Sent.Mono <= s.Window/2 {
		s.part, s.proven = max(s.part, batch.Renews), max(s.proven, batch.Renews)
	}
}

// learnTrip records how long an answer took: a quicker one counts at once, a slower one by and by.
func (s *State) learnTrip(took time.Duration) {
	if s.trip == 0 || took < s.trip {
		s.trip = max(took, 1)
		return
	}
	s.trip += (took - s.trip) / 8
}
