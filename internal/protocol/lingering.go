package protocol

import "slices"

// A permit that lingers has been released, and stays with this process for a moment: the next caller gets it at once,
// without Redis. Redis counts it, and it is renewed, as if it were held.
//
// A process may do so only for Config.Linger since Redis has last said that nobody waits. The time counts from when the
// acquire was sent that was answered so: whoever waits elsewhere came later, and so waits no longer than Linger and one
// trip for a permit that lingers or is released, whatever messages are lost. While permits are reused, Redis is asked
// again in the background: it grants them anew, and says whether somebody waits by now.

// mayLinger reports whether a permit may go from caller to caller without Redis, as far as others are concerned.
func (s *State) mayLinger(now Instant) bool {
	return s.Config.Linger > 0 && !s.draining && !s.quietAsOf.IsZero() && !now.Reached(s.quietAsOf.Add(s.Config.Linger))
}

// linger keeps g, which its holder has released, for the next caller. It reports whether it did.
func (s *State) linger(now Instant, g *Grant) bool {
	if !s.mayLinger(now) || s.Waiting.Len > 0 || !s.canPass(now, g) {
		return false
	}
	g.idleSince = now
	s.lingering = append(s.lingering, g)
	s.lingerAt = earlier(s.lingerAt, earlier(now, s.quietAsOf).Add(s.Config.Linger))
	return true
}

// canPass reports whether another lease may have g after the present one.
func (s *State) canPass(now Instant, g *Grant) bool {
	return g.handed < maxHandovers-1 && now.Until(g.Until.End()) >= s.Window/2
}

// reuse gives w a permit that lingers, and reports whether there was one. The one that was released last comes first, so
// that those which are not needed go back. Where there is none that fits, all go back, to make room for w's.
func (s *State) reuse(now Instant, w *Waiter) bool {
	if len(s.lingering) == 0 {
		return false
	}
	may := s.mayLinger(now) && s.Waiting.Len == 0 && (w.Capacity == 0 || w.Capacity >= s.Config.Capacity) && !(w.Strict && s.Seen.disagrees)
	for i := len(s.lingering) - 1; i >= 0 && may; i-- {
		if g := s.lingering[i]; g.fits(w) && s.canPass(now, g) {
			s.lingering = append(s.lingering[:i], s.lingering[i+1:]...)
			g.handed++
			w.Holding.Reused = true
			s.give(now, g, w)
			s.askAgain(now, g)
			return true
		}
	}
	s.endLingering(now)
	return false
}

// isDueAgain reports whether g should be granted anew: for others' sake, or because its tokens are running out, or because
// Redis keeps its slots for a day only.
func (s *State) isDueAgain(now Instant, g *Grant) bool {
	return g.State == Held && (g.ageing || s.Config.Linger > 0 && !s.quietAsOf.IsZero() && (g.handed >= maxHandovers/2 || now.Reached(s.quietAsOf.Add(s.Config.Linger/2))))
}

// askAgain has Redis grant g anew with the next batch, if that is due.
func (s *State) askAgain(now Instant, g *Grant) {
	if !g.again && s.isDueAgain(now, g) {
		g.again = true
		s.again = append(s.again, g)
		at := now
		if s.failures > 0 {
			at = now.Add(s.delay(s.failures))
		}
		s.againAt = earlier(s.againAt, at)
	}
}

// addAgain adds the permits that are to be granted anew.
func (s *State) addAgain(now Instant, batch *Batch) {
	for _, g := range s.again {
		g.again = false
		if !s.isDueAgain(now, g) { // the batch before has done it
			continue
		}
		c := batch.add(Acquire, g, 0, false)
		c.TTL, c.Again, c.Slots = s.declaredTTL().Milliseconds(), true, s.slots
		c.Narrow = s.Config.Capacity < s.Waiting.widest(s.Config.Capacity)
		c.Ages = append(c.Ages, Again)
	}
	clear(s.again)
	s.again, s.againAt = s.again[:0], Instant{}
}

// grantedAnew takes the answer about a permit that this process has. A permit that Redis does not hold is not granted
// anew: a renewal says what has become of it.
func (s *State) grantedAnew(now Instant, batch *Batch, c *Call, i int, end Instant) {
	g, answer := c.Grants[i], c.Answers[i]
	switch {
	case g.State != Held:
	case answer.Expiry <= 0:
		s.RenewNow(now)
	case len(g.Slots) > 0 && c.Slots && !slices.Equal(g.Slots, c.slotsOf(i)): // Redis has lost them, and others may have got them
		s.lose(now, g, Removed, ended)
	case answer.Token > g.token:
		g.token, g.handed, g.ageing = answer.Token, 0, false
		if !s.quietAsOf.IsZero() { // else who waits must not wait for another Handover
			g.at = batch.Sent
		}
		if end.Mono > g.Until.End().Mono {
			g.Until.set(end)
			g.acknowledged = int32(batch.Acknowledged)
		}
	}
}

// learnQuiet takes from the answer to an acquire whether anybody waits.
func (s *State) learnQuiet(now, sent Instant, c *Call) {
	switch o := c.Occupancy; {
	case o != nil && (o.Waiting > 0 || s.Seen.overfull):
		s.somebodyWaits(now, sent)
	case sent.Mono > s.busyAsOf.Mono && sent.Mono > s.quietAsOf.Mono:
		s.quietAsOf = sent
	}
}

// somebodyWaits records that this was so when what was sent then was answered. What lingers goes back.
func (s *State) somebodyWaits(now, sent Instant) {
	if s.busyAsOf.Mono < sent.Mono {
		s.busyAsOf = sent
	}
	s.quietAsOf = Instant{}
	s.endLingering(now)
}

// endLingering gives back all that lingers.
func (s *State) endLingering(now Instant) { s.giveBackIdle(now, len(s.lingering)) }

// lookAtLingering gives back what has lingered for long enough.
func (s *State) lookAtLingering(now Instant) {
	n := 0
	for n < len(s.lingering) && (!s.mayLinger(now) || now.Reached(s.lingering[n].idleSince.Add(s.Config.Linger))) {
		n++
	}
	s.giveBackIdle(now, n)
}

// giveBackIdle gives back the first n of those that linger.
func (s *State) giveBackIdle(now Instant, n int) {
	for _, g := range s.lingering[:n] {
		s.drop(g)
		s.giveBack(now, g)
	}
	s.lingering = append(s.lingering[:0], s.lingering[n:]...)
	clear(s.lingering[len(s.lingering):cap(s.lingering)])
	s.lingerAt = Instant{}
	if len(s.lingering) > 0 {
		s.lingerAt = earlier(s.lingering[0].idleSince, s.quietAsOf).Add(s.Config.Linger)
	}
}

// dropIdle takes g, which is lost, off those that linger.
func (s *State) dropIdle(g *Grant) {
	for i, other := range s.lingering {
		if other == g {
			s.lingering = append(s.lingering[:i], s.lingering[i+1:]...)
			return
		}
	}
}

// Drain ends all waits: the manager is on its way out. What lingers goes back. The holdings that it returns are nobody's;
// Confirmed of each is closed when Redis has answered, or after MaxReleaseWait.
func (s *State) Drain(now Instant) (idle []*Holding) {
	s.Fail(now, ReasonClosed)
	s.draining = true
	for _, g := range s.lingering {
		h := &Holding{Grant: g, Confirmed: make(chan struct{})}
		g.Holding, g.confirmBy = h, earlier(g.Until.End(), now.Add(MaxReleaseWait))
		s.EndAt = earlier(s.EndAt, g.confirmBy)
		idle = append(idle, h)
	}
	s.endLingering(now)
	return idle
}
