package protocol

import "time"

// lineOf returns the line that w stands in.
func (d *State) waitlistOf(w *Waiter) *waitlist {
	if w.Once {
		return &d.trying
	}
	return &d.Waiting
}

// ask puts w in line. It asks Redis when w is among those that stand in the shared queue for this process.
func (d *State) Ask(now Instant, w *Waiter) {
	d.waitlistOf(w).push(now, w)
	d.endings.add(w)
	if w.Once {
		d.joinAt = now
		return
	}
	d.join(now)
	if d.joinAt.IsZero() {
		d.happened(now, nil, Event{Kind: EventWaiting, Weight: w.Weight})
	}
}

// capacity is the one in force, as far as this process knows.
func (d *State) capacity() int {
	if d.Full.busy {
		return d.Full.Capacity
	}
	return d.Config.Capacity
}

// join has those who are not in the shared queue ask, if their place in the line is one that asks: now; or
// a little later, while permits that it holds are likely to pass from caller to caller inside this process
// and nothing is to be had from Redis. They bring their arrival along.
func (d *State) join(now Instant) {
	if d.placed == d.Waiting.weight || d.placed > d.capacity() {
		return
	}
	at := now
	if d.Full.busy && len(d.held) > 0 && !now.Reached(d.handoverUntil) {
		at = earlier(d.handoverUntil, d.Full.told.Add(d.Config.RetryInterval))
	}
	d.joinAt = earlier(d.joinAt, at)
}

// leave ends w's wait. A permit that it may have got meanwhile goes back; leave reports
// whether w was still waiting, so that a caller knows whether a lease had come first.
func (d *State) Leave(now Instant, w *Waiter, why *Reason) bool {
	if !w.inWaitlist {
		return false
	}
	w.Failed = why
	d.retract(now, w)
	d.takeOut(now, w)
	close(w.Done)
	return true
}

// takeOut takes w out of its line; whoever moves up may have to join the shared queue.
func (d *State) takeOut(now Instant, w *Waiter) {
	d.waitlistOf(w).remove(w)
	d.endings.remove(w)
	if d.Waiting.Len > 0 {
		d.join(now)
		return
	}
	d.Listening = false
	if d.trying.Len == 0 {
		d.pollAt, d.joinAt = Instant{}, Instant{}
	}
}

// attach says that w asks for a permit under g's id.
func (d *State) attach(w *Waiter, g *Grant) {
	g.waiter, w.grant = w, g
	if !w.Once {
		d.placed += w.Weight
	}
}

// detach ends that, and returns the waiter.
func (d *State) detach(g *Grant) *Waiter {
	w := g.waiter
	g.waiter, w.grant = nil, nil
	if !w.Once {
		d.placed -= w.Weight
	}
	return w
}

// retract gives up what w has asked for; it needs it no more.
func (d *State) retract(now Instant, w *Waiter) {
	g := w.grant
	if g == nil {
		return
	}
	d.detach(g)
	switch {
	case g.State == Held:
		d.drop(g)
		d.giveBack(now, g)
	case g.unanswered > 0 || g.queued:
		d.giveBack(now, g)
	default:
		g.State = gone
	}
}

// tooHeavy says that a waiter asks for more than there is.
func (d *State) tooHeavy() *Reason { return &Reason{Kind: TooHeavy, Capacity: d.Full.Capacity} }

// waitedInVain is why a waiter gets no lease whose MaxWait or MaxAttempts is used up.
func (d *State) waitedInVain(now Instant, w *Waiter) *Reason {
	if w.Trouble != nil {
		return &Reason{Kind: Unanswered, Trouble: w.Trouble}
	}
	after := d.Config.RetryInterval
	if !d.Full.free.IsZero() {
		after = min(after, max(now.Until(d.Full.free), time.Millisecond))
	}
	others := max(d.Full.waiting, d.Waiting.Len)
	if !w.Once {
		others-- // itself
	}
	return &Reason{Kind: NoRoom, Capacity: d.Full.Capacity, Held: d.Full.Held, Waiting: max(others, 0), RetryAfter: after}
}
