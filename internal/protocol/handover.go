package protocol

import "time"

// handOver passes g on to the next waiter of this process, without Redis: for a while after Redis gave
// it, so that other processes do not starve. What that waiter has asked Redis for is not needed any more.
//
// A pause, or a resize below what is held, ends it: as soon as Redis has said so, and it is asked at least every
// second RetryInterval. In an outage nothing can be told; the Handover bounds it alone.
func (d *State) handOver(now Instant, g *Grant) bool {
	w := d.Waiting.first
	if w == nil || w.Weight != int(g.Weight) || g.handed == maxHandovers-1 ||
		now.Reached(g.at.Add(d.Config.Handover)) || now.Until(g.Until.End()) < d.Window/2 {
		return false
	}
	if d.Full.over || d.failures == 0 && now.Reached(d.Full.told.Add(2*d.Config.RetryInterval)) {
		return false
	}
	d.replace(now, w, g)
	g.handed++
	d.happened(now, nil, Event{Kind: EventHandedOver, ID: g.ID, Token: g.leaseToken(), Weight: w.Weight})
	d.serve(now, g)
	return true
}

// replace has w get g, and give up what it has asked for itself.
func (d *State) replace(now Instant, w *Waiter, g *Grant) {
	if own := w.grant; own != nil {
		d.retract(now, w)
		d.postpone(own)
	}
	d.attach(w, g)
}

// postpone lets the release of a place in the shared queue wait for the next exchange: while this process
// hands its permits over, its places are not served, or are of use to its other waiters.
func (d *State) postpone(g *Grant) {
	if g.State != releasing || g.releaseAt.Mono >= d.handoverUntil.Mono {
		return
	}
	g.deferred, g.releaseAt = true, d.handoverUntil
	d.releaseDue = d.firstRelease()
}

// maxPassing bounds how long the places in the shared queue may lag behind the hand-overs.
const maxHandoverWindow = 10 * time.Millisecond
