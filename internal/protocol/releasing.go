package protocol

import "time"

// Release gives h's permit back; its contexts have ended before. h.Confirmed is closed when Redis has
// answered, or when the trust window or MaxReleaseWait ends first: the release then goes on without its caller.
func (s *State) Release(now Instant, h *Holding) {
	s.Tick(now) // a window that ends now is a loss
	g := h.Grant
	switch g.State {
	case Held:
		if s.handOver(now, g) || s.linger(now, g) {
			s.confirm(h, nil)
			return
		}
		s.drop(g)
		s.giveBack(now, g)
	case ended:
		s.giveBack(now, g)
	default:
		s.confirm(h, h.Ending)
		return
	}
	g.Holding = h
	g.confirmBy = earlier(g.Until.End(), now.Add(MaxReleaseWait))
	if end := g.Until.End(); now.Reached(end) {
		s.confirm(h, h.Ending) // the window is over: Redis lets the permit expire, and nobody waits for the answer
	} else {
		s.EndAt = earlier(s.EndAt, g.confirmBy)
	}
}

// MaxReleaseWait is for how long a caller of Release waits for Redis, and who closes the manager for what lingers.
const MaxReleaseWait = 2 * time.Second

// confirm tells the caller of Release how it went; why is nil when the permit was given back.
func (s *State) confirm(h *Holding, why *Reason) {
	if h.Grant.Holding == h { // and not handed over
		h.Grant.Holding = nil
	}
	h.Result = why
	if h.Confirmed != nil {
		close(h.Confirmed)
	} else {
		s.happened(Event{Kind: EventReleased, Holding: h})
	}
}

// giveBack puts g on the list of permits to be given back. A grant that was held goes back at once. One whose
// request may still be on its way is released when that request has come too late to take a permit:
// a release that overtook it would leave a permit that nobody knows.
func (s *State) giveBack(now Instant, g *Grant) {
	g.releaseAt = now
	if g.State == asked && !g.hasNoOpenRequest(now) {
		g.releaseAt = g.refusedAfter
	}
	g.State = releasing
	g.expiresBy = now.Add(2 * s.longestTTL)
	g.index = int32(len(s.releasing))
	s.releasing = append(s.releasing, g)
	s.releaseDue = earlier(s.releaseDue, g.releaseAt)
}

// forget takes g off the list of permits to be given back.
func (s *State) forget(g *Grant) {
	g.State = gone
	s.releasing = cut(s.releasing, g)
	if len(s.releasing) == 0 {
		s.releaseDue, s.releasing = Instant{}, emptied(s.releasing)
	}
}

// unanswered says that Redis did not answer in time.
func (s *State) unanswered() *Reason {
	if s.Trouble == nil {
		return &Reason{Kind: Unanswered, Trouble: noReply.Err}
	}
	return &Reason{Kind: Unanswered, Trouble: s.Trouble}
}

func (s *State) dropExpired(now Instant) {
	for i := len(s.releasing) - 1; i >= 0; i-- {
		if g := s.releasing[i]; now.Reached(g.expiresBy) {
			if g.Holding != nil { // its window is longer: the server's clock has stepped back
				s.confirm(g.Holding, s.unanswered())
			}
			s.forget(g)
		}
	}
}

// nobodySeemsToWait reports whether a release needs no script: Redis has just said that there was room, and
// all that goes back was held for a moment only.
func (s *State) nobodySeemsToWait(now Instant, c *Call) bool {
	if s.Seen.busy || !c.Plain() {
		return false
	}
	for _, g := range c.Grants {
		if g.token == 0 || now.Reached(g.at.Add(10*time.Millisecond)) {
			return false
		}
	}
	return true
}

// Plain reports whether a release needs no script to take its ids out.
func (c *Call) Plain() bool {
	return c.Verb == Release && !c.MayBeQueued && len(c.Grants) > 0 && c.Permits == len(c.Grants)
}

func (s *State) addReleases(now Instant, batch *Batch) {
	for _, g := range s.releasing {
		if now.Reached(g.releaseAt) || g.deferred && g.hasNoOpenRequest(now) {
			c := batch.add(Release, g, 0, false)
			c.MayBeQueued = c.MayBeQueued || g.mayBeQueued || g.unanswered > 0 || g.released
			g.released, g.lastRelease = true, g.hasNoOpenRequest(now)
		}
	}
}

// firstRelease is when the first release is due.
func (s *State) firstRelease() (at Instant) {
	for _, g := range s.releasing {
		at = earlier(at, g.releaseAt)
	}
	return at
}

// promoteAgain schedules a promotion that failed once more, as long as it comes before the next poll of the waiters:
// a poll promotes too.
func (s *State) promoteAgain(now, at Instant) {
	if s.promoteBy.IsZero() {
		s.promoteBy = now.Add(s.Config.RetryInterval)
	}
	if at.Reached(s.promoteBy) {
		s.promoteBy = Instant{}
		return
	}
	s.promoteAt = earlier(s.promoteAt, at)
}

// released handles the answer to a release. Whether the permit was still there says nothing: the client
// may have sent the release twice, when the first reply was lost.
func (s *State) released(now Instant, c *Call) {
	s.takeStatus(now, c)
	if c.Unpromoted {
		s.promoteAgain(now, now)
	} else if c.Promote {
		s.promoteBy = Instant{}
	}
	if c.Plain() && c.Removed < len(c.Grants) {
		// One may have been revoked, and then goes by another name: the script knows it.
		for _, g := range c.Grants {
			g.releaseAt = now
		}
		return
	}
	for _, g := range c.Grants {
		if g.State != releasing {
			continue
		}
		if g.Holding != nil {
			s.confirm(g.Holding, g.Holding.Ending)
		}
		switch {
		case g.lastRelease:
			s.forget(g)
		case g.hasNoOpenRequest(now): // its last request was answered after this release was sent: release once more
			g.releaseAt, g.deferred = now, false
		default:
			g.releaseAt, g.deferred = g.refusedAfter, false // a request may still run: release again when it can take no permit any more
		}
	}
}
