package protocol

import "time"

// serve gives g to the waiter that asked for it.
func (s *State) serve(now Instant, g *Grant) {
	w := s.detach(g)
	s.takeOut(now, w)
	s.give(now, g, w)
}

// give makes the lease of w, who waits no more.
func (s *State) give(now Instant, g *Grant, w *Waiter) {
	g.Holding, g.needs = w.Holding, int32(w.MinReplicas)
	w.Holding.Grant, w.Holding.Token = g, g.leaseToken()
	if w.Holding.MaxHold > 0 {
		w.Holding.EndsAt = now.Add(w.Holding.MaxHold)
		s.holdAt = earlier(s.holdAt, w.Holding.EndsAt)
	}
	w.Holding.Began = now
	close(w.Done)
}

// dropOrphans stops renewing the permits of leases that nobody can reach any more. They are not given
// back: what their holders guarded may still be going on.
func (s *State) dropOrphans(now Instant) {
	for i := len(s.held) - 1; i >= 0; i-- {
		if h := s.held[i].Holding; h != nil && h.Holder.Orphaned() {
			s.endLease(now, h, ended, reasonAbandoned)
		}
	}
}

// endLease stops renewing the grant of a lease, records the reason, and adds the holding to the effects.
func (s *State) endLease(now Instant, h *Holding, state grantState, why *Reason) {
	g := h.Grant
	h.Ending = why
	s.drop(g)
	g.State, g.Holding = state, nil
	s.newestEnded = max(s.newestEnded, g.token)
	effects := s.effectsToCome()
	effects.Ends = append(effects.Ends, h)
}

// Keep adds g to the grants that are renewed.
func (s *State) Keep(end Instant, g *Grant) {
	g.State = Held
	g.Until.set(end)
	g.index = int32(len(s.held))
	s.held = append(s.held, g)
	s.weight += int(g.Weight)
	s.EndAt = earlier(s.EndAt, end)
	s.RenewAt = earlier(s.RenewAt, end.Add(s.third()-s.Window))
}

// drop takes g off the grants that are renewed.
func (s *State) drop(g *Grant) {
	s.held = cut(s.held, g)
	s.weight -= int(g.Weight)
	if len(s.held) == 0 {
		s.RenewAt, s.held = Instant{}, emptied(s.held)
	}
}

// emptied is what to keep of a list that has become empty: its memory, while that is little.
func emptied(list []*Grant) []*Grant {
	if cap(list) > 64 {
		return nil
	}
	return list[:0]
}

// cut removes g from the list that it is in, in constant time.
func cut(list []*Grant, g *Grant) []*Grant {
	last := len(list) - 1
	moved := list[last]
	list[g.index], moved.index = moved, g.index
	list[last] = nil
	return list[:last]
}

// Lose ends g, which its holder has not given back.
func (s *State) Lose(now Instant, g *Grant, why reasonKind) {
	state := ended
	if why == Removed {
		state = gone // there is nothing to give back
	}
	s.lose(now, g, why, state)
}

func (s *State) lose(now Instant, g *Grant, why reasonKind, state grantState) {
	if h := g.Holding; h != nil {
		s.endLease(now, h, state, &Reason{Kind: why, Trouble: s.Trouble})
		return
	}
	// Nobody uses it: it lingers, or its waiter has not got it yet, and asks again.
	s.drop(g)
	if g.waiter == nil {
		s.dropIdle(g)
	} else {
		s.detach(g)
		s.joinAt = now
	}
	g.State = state
	if state == ended {
		s.giveBack(now, g)
	}
}

func (s *State) endWindows(now Instant) {
	for i := len(s.held) - 1; i >= 0; i-- {
		if g := s.held[i]; now.Reached(g.Until.End()) {
			s.Lose(now, g, Expired)
		}
	}
	for _, g := range s.releasing {
		if g.Holding != nil && now.Reached(g.confirmBy) {
			s.confirm(g.Holding, s.unanswered())
		}
	}
	s.EndAt = s.firstEnd()
}

// firstEnd is the first end of a window, or of a wait for a release, that somebody depends on.
func (s *State) firstEnd() (at Instant) {
	for _, g := range s.held {
		at = earlier(at, g.Until.End())
	}
	for _, g := range s.releasing {
		if g.Holding != nil {
			at = earlier(at, g.confirmBy)
		}
	}
	return at
}

func (s *State) endHolds(now Instant) {
	s.holdAt = Instant{}
	for i := len(s.held) - 1; i >= 0; i-- {
		g := s.held[i]
		h := g.Holding
		if h == nil || h.EndsAt.IsZero() {
			continue
		}
		if !now.Reached(h.EndsAt) {
			s.holdAt = earlier(s.holdAt, h.EndsAt)
			continue
		}
		s.endLease(now, h, ended, &Reason{Kind: HeldTooLong})
	}
}

// An award is what Redis says of a permit that it has granted.
type award struct {
	at, end      Instant // the script ran no sooner; the window ends
	token        int64
	acknowledged int  // by so many replicas
	late         bool // the answer came after its batch was given up, and another batch is under way
}

// granted records that Redis gave the waiter of g its permit. A grant whose window has ended is not trusted and goes
// back. One that has little left is renewed before its waiter gets it, and so is one that came late: the batch that is
// under way meanwhile was given the time that it has where nothing is held, and a renewal leaves only after it.
func (s *State) granted(now Instant, g *Grant, a award) {
	g.mayBeQueued = false
	// A script of another process may have granted it for longer than this process's TTL, after a step back of the clock.
	// Others may draw it in to that TTL: the lease must not be trusted for longer.
	a.end = earlier(a.end, a.at.Add(s.Window+time.Millisecond))
	if now.Reached(a.end) {
		s.detach(g)
		s.giveBack(now, g)
		s.joinAt = now
		return
	}
	g.token, g.at, g.acknowledged = a.token, a.at, int32(a.acknowledged)
	if a.at.Mono > s.Seen.asOf.Mono { // a notification: there was room
		s.Seen.asOf, s.Seen.overfull = a.at, false
	}
	if s.Config.Handover > 0 {
		s.handoverUntil = a.at.Add(s.Config.Handover + min(s.Config.Handover, maxHandoverWindow))
	}
	s.Keep(a.end, g)
	if a.late || now.Until(a.end) < s.Window*2/3 {
		s.RenewAt = now
		return
	}
	s.serve(now, g)
}

// adopt gives a permit that came for a waiter who needs it no more to the next waiter of this process,
// as if it had been handed over. If there is none that may have it, or a lease had it before, it goes back.
func (s *State) adopt(now Instant, g *Grant, a award) {
	w := s.Waiting.first
	g.acknowledged = int32(a.acknowledged)
	if w == nil || !g.fits(w) || g.released || g.token != 0 || now.Reached(a.end) || s.Config.Handover < 0 ||
		s.Seen.overfull {
		g.releaseAt, g.deferred = now, false
		return
	}
	s.forget(g)
	g.State, g.deferred = asked, false
	s.replace(now, w, g)
	s.granted(now, g, a)
}
