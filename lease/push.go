package lease

import "time"

// A push is a message from another process's script, or from an operator's.
type push struct {
	verb   pushVerb
	expiry int64 // grant: ms of the server's clock; refuse: the capacity in force
	token  int64 // grant: µs
	server int64 // when the script ran, in µs of the server's clock
	id     string
	weight int // how many permits the id is for
}

// A pair is what a push is measured by: when a call was sent, and what the server's clock showed while it
// ran.
type pair struct {
	sent   instant
	micros int64
}

type pushVerb uint8

const (
	pushGrant  pushVerb = iota
	pushRefuse          // the request is heavier than the capacity in force
	pushRevoke
)

// pushed takes a message. It may be late, come twice, overtake the reply that queued its waiter, or be
// for somebody who has left.
func (d *desk) pushed(now instant, p push) {
	d.tick(now)
	g := d.find(p.id)
	switch {
	case p.verb == pushRevoke:
		if g != nil && g.state == held {
			d.lose(now, g, revoked)
		}
	case p.verb == pushRefuse:
		if g != nil && g.state == asked {
			g.queued = false
			d.full.capacity, d.full.busy = int(p.expiry), true
			d.leave(now, g.waiter, d.tooHeavy())
		}
	case g == nil && (p.token <= d.lapsed || !d.ours(p)):
		// perhaps of a lease that ended, and its holder has not released it
	case g == nil:
		// It was released before, or asked for by a request that came twice, the second time late.
		d.owe(now, &grant{id: p.id, weight: int32(p.weight), queued: true, released: true})
	case g.state != asked && g.state != owed:
		// held already
	case !d.measures(now, p):
		if g.state == owed {
			g.sendAt, g.stale = now, false
		} else {
			d.pollAt = now
		}
	default:
		at := d.pair.sent.add(time.Duration(p.server-d.pair.micros) * time.Microsecond)
		end := windowEnd(d.pair.sent, p.expiry, d.pair.micros, d.cfg.Margin)
		if g.state == owed {
			d.adopt(now, at, g, end, p.token)
		} else {
			d.granted(now, at, g, end, p.token)
		}
	}
	d.reschedule()
}

// measures reports whether the latest answer of the server tells how long a push can be trusted: it is there,
// not old, and by the same clock as far as can be seen. Otherwise the push is only a reason to poll.
func (d *desk) measures(now instant, p push) bool {
	elapsed := now.mono - d.pair.sent.mono
	passed := time.Duration(p.server-d.pair.micros) * time.Microsecond
	return d.pair.micros != 0 && !now.reached(d.pair.sent.add(d.cfg.TTL)) && passed <= elapsed+drift(elapsed)
}

// ours reports whether the server made a grant since this desk began. Desks come and go with their work, and the
// one before may have left a lease that ended and has not been released: this one cannot tell.
func (d *desk) ours(p push) bool {
	before := d.pair.sent.mono - d.born.mono
	return d.pair.micros != 0 && p.token > d.pair.micros-(before-drift(before)).Microseconds()
}

// find returns the grant of an id, nil when this desk does not know it.
func (d *desk) find(id string) *grant {
	for w := d.waiting.first; w != nil; w = w.next {
		if w.grant != nil && w.grant.id == id {
			return w.grant
		}
	}
	for _, list := range [...][]*grant{d.owed, d.held} {
		for _, g := range list {
			if g.id == id {
				return g
			}
		}
	}
	return nil
}

// subscribed takes it that pushes arrive from now on, for the first time or again: one may have been lost
// before, and the server may be another.
func (d *desk) subscribed(now instant) {
	if d.waiting.len > 0 {
		d.pair, d.pollAt = pair{}, now
	}
}
