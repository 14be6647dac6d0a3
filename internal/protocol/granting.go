package protocol

// serve gives g to the waiter that asked for it.
func (d *State) serve(now Instant, g *Grant) {
	w := d.detach(g)
	d.takeOut(now, w)
	g.Holding = w.Holding
	w.Holding.Grant, w.Holding.Token = g, g.leaseToken()
	if w.Holding.MaxHold > 0 {
		w.Holding.EndsAt = now.Add(w.Holding.MaxHold)
		d.holdAt = earlier(d.holdAt, w.Holding.EndsAt)
	}
	w.Holding.began = now.Mono
	d.happened(now, w.Holding, Event{Kind: EventAcquired, Waited: now.Mono - w.since.Mono})
	close(w.Done)
}

// dropOrphans stops renewing the permits of leases that nobody can reach any more. They are not given
// back: what their holders guarded may still be going on.
func (d *State) dropOrphans(now Instant) {
	for i := len(d.held) - 1; i >= 0; i-- {
		if h := d.held[i].Holding; h != nil && h.Holder.Orphaned() {
			d.end(now, h, ended, reasonAbandoned)
		}
	}
}

// end takes the permit of a lease off those that are renewed, and leaves word why.
func (d *State) end(now Instant, h *Holding, state grantState, why *Reason) {
	g := h.Grant
	h.Ending = why
	d.happened(now, h, Event{Kind: EventLost})
	d.drop(g)
	g.State, g.Holding = state, nil
	d.lapsed = max(d.lapsed, g.token)
	left := d.effectsToCome()
	left.Ends = append(left.Ends, h)
}

// keep adds g to the grants that are renewed.
func (d *State) Keep(end Instant, g *Grant) {
	g.State = Held
	g.Until.set(end)
	g.index = int32(len(d.held))
	d.held = append(d.held, g)
	d.weight += int(g.Weight)
	d.EndAt = earlier(d.EndAt, end)
	d.RenewAt = earlier(d.RenewAt, end.Add(d.third()-d.Window))
}

// drop takes g off the grants that are renewed.
func (d *State) drop(g *Grant) {
	d.held = cut(d.held, g)
	d.weight -= int(g.Weight)
	if len(d.held) == 0 {
		d.RenewAt, d.held = Instant{}, emptied(d.held)
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

// lose ends g, which its holder has not given back.
func (d *State) Lose(now Instant, g *Grant, why reasonKind) {
	state := ended
	if why == Removed {
		state = gone
	}
	if h := g.Holding; h != nil {
		d.end(now, h, state, &Reason{Kind: why, Trouble: d.Trouble})
		return
	}
	// Granted, and not given to its waiter yet: nobody has used it. The waiter asks again.
	d.drop(g)
	d.detach(g)
	g.State = state
	if state == ended {
		d.giveBack(now, g)
	}
	d.joinAt = now
}

func (d *State) endWindows(now Instant) {
	for i := len(d.held) - 1; i >= 0; i-- {
		if g := d.held[i]; now.Reached(g.Until.End()) {
			d.Lose(now, g, Expired)
		}
	}
	for _, g := range d.releasing {
		if g.Holding != nil && now.Reached(g.Until.End()) {
			d.confirm(g.Holding, d.unanswered())
		}
	}
	d.EndAt = d.firstEnd()
}

// firstEnd is the first end of a window that somebody depends on.
func (d *State) firstEnd() (at Instant) {
	for _, g := range d.held {
		at = earlier(at, g.Until.End())
	}
	for _, g := range d.releasing {
		if g.Holding != nil {
			at = earlier(at, g.Until.End())
		}
	}
	return at
}

func (d *State) endHolds(now Instant) {
	d.holdAt = Instant{}
	for i := len(d.held) - 1; i >= 0; i-- {
		g := d.held[i]
		h := g.Holding
		if h == nil || h.EndsAt.IsZero() {
			continue
		}
		if !now.Reached(h.EndsAt) {
			d.holdAt = earlier(d.holdAt, h.EndsAt)
			continue
		}
		d.end(now, h, ended, &Reason{Kind: HeldTooLong})
	}
}

// granted takes a permit for the waiter of g. A grant whose window has ended is not trusted and goes
// back; one that has little left is renewed before its holder gets it.
func (d *State) granted(now, at Instant, g *Grant, end Instant, token int64) {
	g.queued = false
	if now.Reached(end) {
		d.detach(g)
		d.giveBack(now, g)
		d.joinAt = now
		return
	}
	g.token, g.at = token, at
	if at.Mono > d.Full.told.Mono { // a push: there was room
		d.Full.told, d.Full.over = at, false
	}
	if d.Config.Handover > 0 {
		d.handoverUntil = at.Add(d.Config.Handover + min(d.Config.Handover, maxHandoverWindow))
	}
	d.Keep(end, g)
	if now.Until(end) < d.Window*2/3 {
		d.RenewAt = now
		return
	}
	d.serve(now, g)
}

// adopt takes a permit that came for a waiter who needs it no more: the next one of this process gets it,
// as if it had been handed over. If nobody can, or somebody had it before, it goes back.
func (d *State) adopt(now, at Instant, g *Grant, end Instant, token int64) {
	w := d.Waiting.first
	if w == nil || w.Weight != int(g.Weight) || g.released || g.token != 0 || now.Reached(end) || d.Config.Handover < 0 ||
		d.Full.over {
		g.releaseAt, g.deferred = now, false
		return
	}
	d.forget(g)
	g.State, g.deferred = asked, false
	d.replace(now, w, g)
	d.granted(now, at, g, end, token)
}
