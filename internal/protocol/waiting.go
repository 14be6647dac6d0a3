package protocol

import "time"

// waitlistOf returns the line that w stands in.
func (s *State) waitlistOf(w *Waiter) *waitlist {
	if w.Once {
		return &s.trying
	}
	return &s.Waiting
}

// Ask puts w in line. It asks Redis when w is among those that stand in the shared queue for this process.
func (s *State) Ask(now Instant, w *Waiter) {
	s.waitlistOf(w).push(now, w)
	s.endings.add(w)
	if w.Once {
		s.joinAt = now
		return
	}
	s.join(now)
	if s.joinAt.IsZero() {
		s.happened(now, nil, Event{Kind: EventWaiting, Weight: w.Weight})
	}
}

// capacity is the one in force, as far as this process knows.
func (s *State) capacity() int {
	if s.Seen.busy {
		return s.Seen.Capacity
	}
	return s.Config.Capacity
}

// join has those who are not in the shared queue ask, if their place in the line is one that asks: now; or
// a little later, while permits that it holds are likely to pass from caller to caller inside this process
// and nothing is to be had from Redis. They bring their arrival along.
func (s *State) join(now Instant) {
	if s.enqueued == s.Waiting.weight || s.enqueued > s.capacity() {
		return
	}
	at := now
	if s.Seen.busy && len(s.held) > 0 && !now.Reached(s.handoverUntil) {
		at = earlier(s.handoverUntil, s.Seen.asOf.Add(s.Config.RetryInterval))
	}
	s.joinAt = earlier(s.joinAt, at)
}

// Leave ends w's wait. A permit that it may have got meanwhile goes back; leave reports
// whether w was still waiting, so that a caller knows whether a lease had come first.
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

// takeOut takes w out of its line; whoever moves up may have to join the shared queue.
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

// attach says that w asks for a permit under g's id.
func (s *State) attach(w *Waiter, g *Grant) {
	g.waiter, w.grant = w, g
	if !w.Once {
		s.enqueued += w.Weight
	}
}

// detach ends that, and returns the waiter.
func (s *State) detach(g *Grant) *Waiter {
	w := g.waiter
	g.waiter, w.grant = nil, nil
	if !w.Once {
		s.enqueued -= w.Weight
	}
	return w
}

// withdraw gives up what w has asked for; it needs it no more.
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
	case g.unanswered > 0 || g.queued:
		s.giveBack(now, g)
	default:
		g.State = gone
	}
}

// tooHeavy says that a waiter asks for more than there is.
func (s *State) tooHeavy() *Reason { return &Reason{Kind: TooHeavy, Capacity: s.Seen.Capacity} }

// waitedInVain is why a waiter gets no lease whose MaxWait or MaxAttempts is used up.
func (s *State) waitedInVain(now Instant, w *Waiter) *Reason {
	if w.Trouble != nil {
		return &Reason{Kind: Unanswered, Trouble: w.Trouble}
	}
	after := s.Config.RetryInterval
	if !s.Seen.free.IsZero() {
		after = min(after, max(now.Until(s.Seen.free), time.Millisecond))
	}
	others := max(s.Seen.waiting, s.Waiting.Len)
	if !w.Once {
		others-- // itself
	}
	return &Reason{Kind: NoRoom, Capacity: s.Seen.Capacity, Held: s.Seen.Held, Waiting: max(others, 0), RetryAfter: after}
}
