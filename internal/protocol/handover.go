package protocol

import "time"

// handOver gives g to the next waiter of this process, without asking Redis. It does so for a while after Redis gave
// it only, so that other processes do not starve. What that waiter has asked Redis for is taken back.
//
// A pause, or a resize below what is held, ends it: as soon as Redis has said so, and it is asked at least every
// second RetryInterval. In an outage nothing can be told; the Handover bounds it alone.
func (s *State) handOver(now Instant, g *Grant) bool {
	w := s.Waiting.first
	if w == nil || !g.fits(w) || !s.canPass(now, g) || now.Reached(g.at.Add(s.Config.Handover)) {
		return false
	}
	if s.Seen.overfull || s.failures == 0 && now.Reached(s.Seen.asOf.Add(2*s.Config.RetryInterval)) {
		return false
	}
	s.replace(now, w, g)
	g.handed++
	s.serve(now, g)
	return true
}

// replace has w get g, and give up what it has asked for itself.
func (s *State) replace(now Instant, w *Waiter, g *Grant) {
	if own := w.grant; own != nil {
		s.withdraw(now, w)
		s.postpone(own)
	}
	s.attach(w, g)
}

// postpone lets the release of a place in the queue wait for the next batch: while this process hands its permits
// over, a grant for that place can serve another of its waiters.
func (s *State) postpone(g *Grant) {
	if g.State != releasing || g.releaseAt.Mono >= s.handoverUntil.Mono {
		return
	}
	g.deferred, g.releaseAt = true, s.handoverUntil
	s.releaseDue = s.firstRelease()
}

// maxHandoverWindow bounds how long the places in the shared queue may lag behind the hand-overs.
const maxHandoverWindow = 10 * time.Millisecond
