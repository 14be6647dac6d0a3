package protocol

import "time"

// A Notification is a message that the script of another process, or of an operator, has published.
type Notification struct {
	Kind   Notice
	Expiry int64 // grant: ms of the server's clock; refuse: the capacity in force
	Token  int64 // grant: µs
	Server int64 // when the script ran, in µs of the server's clock
	ID     string
	Weight int // how many permits the id is for
	Slots  []int
}

// A clockSample says when a call was sent and what the server's clock showed while it ran. It measures for how long a
// notification can be trusted.
type clockSample struct {
	sent   Instant
	micros int64
}

// Notice is what a notification tells.
type Notice uint8

const (
	Granted Notice = iota
	Refused        // the request is heavier than the capacity in force
	Withdrawn
)

// Notified takes a message. It may be late, come twice, overtake the reply that queued its waiter, or be
// for somebody who has left.
func (s *State) Notified(now Instant, n Notification) {
	s.Tick(now)
	if !s.slots { // another process sets Slots
		n.Slots = nil
	}
	g := s.find(n.ID)
	switch {
	case n.Kind == Withdrawn:
		if g != nil && g.State == Held {
			s.Lose(now, g, Revoked)
		}
	case n.Kind == Refused:
		if g != nil && g.State == asked {
			g.mayBeQueued = false
			s.Seen.Capacity, s.Seen.busy = int(n.Expiry), true
			s.Leave(now, g.waiter, s.tooHeavy())
		}
	case g == nil && (n.Token <= s.newestEnded || !s.grantedSinceBorn(n)):
		// It may be of a lease that has ended and that its holder has not released: do not give it back.
	case g == nil:
		// Its permit was released before, or its request came twice, the second time late: nobody wants it.
		s.giveBack(now, &Grant{ID: n.ID, Weight: int32(n.Weight), mayBeQueued: true, released: true})
	case g.State != asked && g.State != releasing:
		// held already
	case !g.takeSlots(n.Slots):
		s.warn(Warning{Kind: NoSlots})
		s.pollAt = now
	case g.waiter != nil && g.waiter.MinReplicas > 0 || !s.canMeasure(now, n):
		if g.State == releasing {
			g.releaseAt, g.deferred = now, false
		} else {
			s.pollAt = now
		}
	default:
		a := award{
			at:    s.sample.sent.Add(time.Duration(n.Server-s.sample.micros) * time.Microsecond),
			end:   WindowEnd(s.sample.sent, n.Expiry, s.sample.micros, s.Config.Margin),
			token: n.Token,
		}
		if g.State == releasing {
			s.adopt(now, g, a)
		} else {
			s.granted(now, g, a)
		}
	}
	s.reschedule()
}

// canMeasure reports whether the state can tell for how long to trust a notification: it has an answer of the server that
// is younger than a TTL and, as far as can be seen, by the same clock. Otherwise the notification only starts a poll.
func (s *State) canMeasure(now Instant, n Notification) bool {
	elapsed := now.Mono - s.sample.sent.Mono
	passed := time.Duration(n.Server-s.sample.micros) * time.Microsecond
	return s.sample.micros != 0 && !now.Reached(s.sample.sent.Add(s.Config.TTL)) && passed <= elapsed+drift(elapsed)
}

// grantedSinceBorn reports whether Redis made a grant after this state was made. A state goes when it has nothing to do. The one
// before it may have left a lease that has ended and is not released; this state does not know of it, so it leaves an
// earlier grant alone.
func (s *State) grantedSinceBorn(n Notification) bool {
	before := s.sample.sent.Mono - s.Born.Mono
	return s.sample.micros != 0 && n.Token > s.sample.micros-(before-drift(before)).Microseconds()
}

// find returns the grant of an id, nil when this state does not know it.
func (s *State) find(id string) *Grant {
	for w := s.Waiting.first; w != nil; w = w.next {
		if w.grant != nil && w.grant.ID == id {
			return w.grant
		}
	}
	for _, list := range [...][]*Grant{s.releasing, s.held} {
		for _, g := range list {
			if g.ID == id {
				return g
			}
		}
	}
	return nil
}

// Subscribed says that notifications arrive from now on, for the first time or again. One may have been lost
// before, and the server may be another: the waiters poll.
func (s *State) Subscribed(now Instant) {
	if s.Waiting.Len > 0 {
		s.sample, s.pollAt = clockSample{}, now
	}
}
