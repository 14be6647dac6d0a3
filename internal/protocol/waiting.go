package protocol

import (
	"cmp"
	"time"
)

// waitlistOf returns the list that w belongs to.
func (s *State) waitlistOf(w *Waiter) *waitlist {
	if w.Once {
		return &s.trying
	}
	return &s.Waiting
}

// Ask gives w a permit that lingers, and reports whether there was one. Otherwise it puts w at the end of the waitlist, and
// has Redis asked at once if w is among the first of it.
func (s *State) Ask(now Instant, w *Waiter) (served bool) {
	if s.wanted != nil && s.Idle() {
		s.declared(now, now, s.wanted.TTL) // nothing is there that could rest on it
	}
	if s.reuse(now, w) {
		return true
	}
	s.waitlistOf(w).push(now, w)
	if w.Once { // one attempt, behind one that is perhaps under way
		w.Deadline = earlier(w.Deadline, now.Add(s.bound()))
	}
	s.endings.add(w)
	if w.Once {
		s.joinAt = now
		return false
	}
	s.join(now)
	if s.joinAt.IsZero() {
		s.waits(now, w)
	}
	return false
}

// waits records that w has to wait, and where in the line.
func (s *State) waits(now Instant, w *Waiter) {
	if w.Queued.IsZero() && !w.Once {
		w.Queued, w.Place = now, max(s.Seen.waiting, s.Waiting.Len)
	}
}

// capacity is the one in force, as far as this process knows.
func (s *State) capacity() int {
	if s.Seen.busy {
		return s.Seen.Capacity
	}
	return s.Config.Capacity
}

// join schedules a request for the first waiters that have not asked Redis, up to the capacity and one more. It waits a
// little while this process is likely to hand its own permits over and Redis has nothing to give. The requests say for
// how long their callers have waited, so nobody loses by that.
func (s *State) join(now Instant) {
	if s.requestedWeight == s.Waiting.weight || s.requestedWeight > s.capacity() {
		return
	}
	at := now
	if s.Seen.busy && len(s.held) > 0 && !now.Reached(s.handoverUntil) {
		at = earlier(s.handoverUntil, s.Seen.asOf.Add(s.Config.RetryInterval))
	}
	s.joinAt = earlier(s.joinAt, at)
}

// Leave ends w's wait. A permit that it may have got meanwhile goes back. Leave reports whether w was still waiting:
// if not, a lease had come first.
func (s *State) Leave(now Instant, w *Waiter, why *Reason) bool {
	if !w.inWaitlist {
		return false
	}
	w.Failed = why
	s.withdraw(now, w)
	s.takeOut(now, w)
	close(w.Done)
	return true
}

// takeOut takes w off its list. The waiters behind it move up, and one may have to ask Redis now.
func (s *State) takeOut(now Instant, w *Waiter) {
	s.waitlistOf(w).remove(w)
	s.endings.remove(w)
	if s.Waiting.Len > 0 {
		s.join(now)
		return
	}
	s.Listening = false
	if s.trying.Len == 0 {
		s.pollAt, s.joinAt = Instant{}, Instant{}
	}
}

// attach makes g the grant that w asks for.
func (s *State) attach(w *Waiter, g *Grant) {
	g.waiter, w.grant = w, g
	if !w.Once {
		s.requestedWeight += w.Weight
	}
}

// detach takes g away from its waiter, and returns the waiter.
func (s *State) detach(g *Grant) *Waiter {
	w := g.waiter
	g.waiter, w.grant = nil, nil
	if !w.Once {
		s.requestedWeight -= w.Weight
	}
	return w
}

// withdraw takes back what w has asked for.
func (s *State) withdraw(now Instant, w *Waiter) {
	g := w.grant
	if g == nil {
		return
	}
	s.detach(g)
	switch {
	case g.State == Held:
		s.drop(g)
		s.giveBack(now, g)
	case g.unanswered > 0 || g.mayBeQueued:
		s.giveBack(now, g)
	default:
		g.State = gone
	}
}

// tooHeavy is why a waiter that asks for more permits than the capacity gets no lease.
func (s *State) tooHeavy() *Reason { return &Reason{Kind: TooHeavy, Capacity: s.Seen.Capacity} }

// disagreed is why a strict waiter gets no lease.
func disagreed(c *Call) *Reason {
	why := &Reason{Kind: Disagreed, OwnTTL: time.Duration(c.TTL) * time.Millisecond}
	if o := c.Occupancy; o != nil {
		why.Capacity, why.TTL = o.OtherCapacity, o.OtherTTL
	}
	return why
}

// neverAnswered reports whether nobody knows that w finds no permit: Redis has answered no request of w, and has not
// said lately to another waiter that there is none.
func (s *State) neverAnswered(now Instant, w *Waiter) bool {
	lately := s.Seen.asOf.Add(2 * s.Config.RetryInterval)
	return !w.answered && (s.failures > 0 || !s.Seen.busy || now.Reached(lately))
}

// Refusal is why a caller gets no permit that waits for another caller of this process, and whose own time is up. held:
// that other one holds the permit, so that there is no need to ask Redis.
func (s *State) Refusal(now Instant, held bool) *Reason {
	why := s.waitedInVain(now, &Waiter{Once: true, Trouble: s.Trouble, answered: held})
	if held {
		why.Held = max(why.Held, 1)
	}
	return why
}

// waitedInVain is why a waiter gets no lease whose MaxWait or MaxAttempts is used up.
func (s *State) waitedInVain(now Instant, w *Waiter) *Reason {
	if w.Trouble != nil || s.neverAnswered(now, w) {
		return &Reason{Kind: Unanswered, Trouble: cmp.Or(w.Trouble, s.Trouble, ErrNoReply)}
	}
	after := s.Config.RetryInterval
	if !s.Seen.free.IsZero() {
		after = min(after, max(now.Until(s.Seen.free), time.Millisecond))
	}
	others := max(s.Seen.waiting, s.Waiting.Len)
	if !w.Once {
		others-- // itself
	}
	return &Reason{Kind: NoRoom, Capacity: s.capacity(), Held: s.Seen.Held, Waiting: max(others, 0), RetryAfter: after}
}
