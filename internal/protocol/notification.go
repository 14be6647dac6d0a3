package protocol

import "time"

// A push is a message from another process's script, or from an operator's.
type Notification struct {
	Verb   Notice
	Expiry int64 // grant: ms of the server's clock; refuse: the capacity in force
	Token  int64 // grant: µs
	Server int64 // when the script ran, in µs of the server's clock
	ID     string
	Weight int // how many permits the id is for
}

// A pair is what a push is measured by: when a call was sent, and what the server's clock showed while it
// ran.
type clockSample struct {
	sent   Instant
	micros int64
}

type Notice uint8

const (
	Granted Notice = iota
	Refused        // the request is heavier than the capacity in force
	Withdrawn
)

// pushed takes a message. It may be late, come twice, overtake the reply that queued its waiter, or be
// for somebody who has left.
func (d *State) Notified(now Instant, p Notification) {
	d.Tick(now)
	g := d.find(p.ID)
	switch {
	case p.Verb == Withdrawn:
		if g != nil && g.State == Held {
			d.Lose(now, g, Revoked)
		}
	case p.Verb == Refused:
		if g != nil && g.State == asked {
			g.queued = false
			d.Full.Capacity, d.Full.busy = int(p.Expiry), true
			d.Leave(now, g.waiter, d.tooHeavy())
		}
	case g == nil && (p.Token <= d.lapsed || !d.ours(p)):
		// perhaps of a lease that ended, and its holder has not released it
	case g == nil:
		// It was released before, or asked for by a request that came twice, the second time late.
		d.giveBack(now, &Grant{ID: p.ID, Weight: int32(p.Weight), queued: true, released: true})
	case g.State != asked && g.State != releasing:
		// held already
	case !d.measures(now, p):
		if g.State == releasing {
			g.releaseAt, g.deferred = now, false
		} else {
			d.pollAt = now
		}
	default:
		at := d.sample.sent.Add(time.Duration(p.Server-d.sample.micros) * time.Microsecond)
		end := WindowEnd(d.sample.sent, p.Expiry, d.sample.micros, d.Config.Margin)
		if g.State == releasing {
			d.adopt(now, at, g, end, p.Token)
		} else {
			d.granted(now, at, g, end, p.Token)
		}
	}
	d.reschedule()
}

// measures reports whether the latest answer of the server tells how long a push can be trusted: it is there,
// not old, and by the same clock as far as can be seen. Otherwise the push is only a reason to poll.
func (d *State) measures(now Instant, p Notification) bool {
	elapsed := now.Mono - d.sample.sent.Mono
	passed := time.Duration(p.Server-d.sample.micros) * time.Microsecond
	return d.sample.micros != 0 && !now.Reached(d.sample.sent.Add(d.Config.TTL)) && passed <= elapsed+drift(elapsed)
}

// ours reports whether the server made a grant since this desk began. Desks come and go with their work, and the
// one before may have left a lease that ended and has not been released: this one cannot tell.
func (d *State) ours(p Notification) bool {
	before := d.sample.sent.Mono - d.Born.Mono
	return d.sample.micros != 0 && p.Token > d.sample.micros-(before-drift(before)).Microseconds()
}

// find returns the grant of an id, nil when this desk does not know it.
func (d *State) find(id string) *Grant {
	for w := d.Waiting.first; w != nil; w = w.next {
		if w.grant != nil && w.grant.ID == id {
			return w.grant
		}
	}
	for _, list := range [...][]*Grant{d.releasing, d.held} {
		for _, g := range list {
			if g.ID == id {
				return g
			}
		}
	}
	return nil
}

// subscribed takes it that pushes arrive from now on, for the first time or again: one may have been lost
// before, and the server may be another.
func (d *State) Subscribed(now Instant) {
	if d.Waiting.Len > 0 {
		d.sample, d.pollAt = clockSample{}, now
	}
}
