package protocol

import (
	"cmp"
	"time"
)

// occupancySeen is what Redis said of the semaphore when it was asked for a permit last.
type occupancySeen struct {
	Capacity, Held, waiting int
	free                    Instant // when the first permit expires unless it is renewed
	busy                    bool    // somebody was refused, or waits
	overfull                bool    // paused, or more is held than the capacity in force
	disagrees               bool    // another process declares other limits
	asOf                    Instant // when this was so, at the earliest: what was asked was sent then
}

// addRequests adds a request for each of the oldest waiters, as many as could fill the capacity and one more, and for
// those who make one attempt. A waiter that is in the queue already is left out, unless it is time to poll. Where the
// batch releases permits, it also asks for the first of those in the queue, as many as these permits can serve and one
// more: a waiter that the script finds among the requests gets its grant in the reply, and needs no notification. To
// ask for all of them would make the cost of a lease grow with the number of callers that wait.
//
// Each request says for how long its caller has waited: acquire.lua computes the place in the queue from it. So a poll
// gives a waiter its place back when an outage has lost the queue.
func (s *State) addRequests(now Instant, batch *Batch) {
	batch.poll = Due(now, s.pollAt)
	freedWeight, releases := batch.releasedWeight(), len(batch.Calls) > 0
	askAgain := releases
	askedForAll := true
	s.joinAt = Instant{}
	ahead, pastCapacity := 0, false // the waiter after the capacity is the last
	var afterPlace int64            // the latest place of those in front
	maxAge := now.Mono              // no limit yet
	asking := 0                     // how many of this process's callers that is
	for w := s.Waiting.first; w != nil && !pastCapacity; w = w.next {
		pastCapacity = ahead >= s.capacity()
		ahead += w.Weight
		asking++
		age := now.Mono - w.since.Mono
		if w.place == 0 {
			age = min(age, maxAge)
		}
		if batch.poll || askAgain || w.grant == nil || !w.grant.inQueue || w.grant.unanswered > 0 {
			s.request(now, batch, w, age.Microseconds(), afterPlace)
		} else {
			askedForAll = false
		}
		askAgain = askAgain && ahead <= freedWeight
		afterPlace = max(afterPlace, w.place)
		if w.place == 0 && !w.grant.inQueue && !w.requestedAt.IsZero() {
			// Redis may run its first request as late as now: a waiter behind it must not seem to be older.
			maxAge = min(maxAge, w.requestedAt.Mono-w.since.Mono)
		}
	}
	if batch.poll || askedForAll && releases && s.Waiting.counting == 0 { // MaxAttempts counts polls: this is none
		s.pollAt = now.Add(s.interval()) // the answer says when it is next
	}
	if batch.poll {
		s.tellCallers(batch, asking)
	}
	for w := s.trying.first; w != nil; w = w.next {
		s.request(now, batch, w, Once, 0)
	}
}

// tellCallers has a poll tell Redis how many callers wait here, for people, where these are more than have a place in the
// queue; and once more when that is over.
func (s *State) tellCallers(batch *Batch, asking int) {
	last := len(batch.Calls) - 1
	if last < 0 || batch.Calls[last].Verb != Acquire {
		return
	}
	switch c := &batch.Calls[last]; {
	case s.Waiting.Len > asking:
		c.Callers = s.Waiting.Len
		s.moreCallers = true // until an answer says otherwise: Redis may have heard it although the answer is lost
	case s.moreCallers:
		c.Callers = allHavePlaces
	}
}

// allHavePlaces is told when no more callers wait than have a place in the queue. It must be no larger than the number of
// places at any later time, when some of them have left, or people would see callers that are not there.
const allHavePlaces = 1

// anyWaits reports whether a request of c stays in the queue. The script keeps the number of callers only then.
func (c *Call) anyWaits() bool {
	for i, answer := range c.Answers {
		if waits(c.Ages[i]) && answer.Expiry == 0 {
			return true
		}
	}
	return false
}

// releasedWeight is the weight of what b releases: of permits, and of places in the queue, behind which others may
// find room.
func (b *Batch) releasedWeight() (weight int) {
	for i := range b.Calls {
		if c := &b.Calls[i]; c.Verb == Release {
			weight += c.Permits
		}
	}
	return weight
}

// request adds a request for w, which has waited for age µs. The script subtracts the age from the server's time when it
// runs, so that a slow call gives a later place. afterPlace keeps the waiters after w behind it, also when their call runs
// sooner.
func (s *State) request(now Instant, batch *Batch, w *Waiter, age, afterPlace int64) {
	g := w.grant
	if g == nil {
		g = &Grant{ID: s.newID(w.Weight, w.Label), Weight: int32(w.Weight), Label: w.Label}
		s.attach(w, g)
	}
	if g.State == Held {
		return // granted by a slow reply; a renewal comes before its holder gets it
	}
	if g.hasNoOpenRequest(now) {
		g.unanswered = 0
	}
	g.unanswered++
	if g.refusedAfter.Mono < batch.refusedAfter.Mono {
		g.refusedAfter = batch.refusedAfter
	}
	if w.requestedAt.IsZero() {
		w.requestedAt = now
	}
	c := batch.add(Acquire, g, w.Capacity, w.Strict)
	c.Narrow = cmp.Or(w.Capacity, s.Config.Capacity) < s.Waiting.widest(s.Config.Capacity)
	c.Slots = s.slots
	c.Refresh, c.TTL = now.Reached(s.refreshAt), s.declaredTTL().Milliseconds()
	if w.place != 0 && c.Stood == len(c.Ages) {
		c.Stood++
	} else if c.Stood == len(c.Ages) {
		c.AfterPlace = afterPlace
	}
	g.mayBeQueued = !w.Once
	c.Ages = append(c.Ages, age)
}

// interval is the time between two polls, with jitter.
func (s *State) interval() time.Duration {
	return time.Duration(float64(s.Config.RetryInterval) * (0.75 + 0.25*s.random()))
}

// notAnswered records that an attempt of w brought no answer; w may have been served since. A waiter
// that Redis has answered before keeps waiting, through an outage too. One that has never been answered fails with the
// client's error; time-outs are tolerated maxSilent times first, and what the server itself calls passing for as long as
// it lasts. Who makes one attempt has time for one attempt.
func (s *State) notAnswered(now Instant, w *Waiter, why Failure) {
	if w == nil || !w.inWaitlist {
		return
	}
	if why.Passing {
		w.Trouble = why.Err
		s.joinAt = earlier(s.joinAt, now.Add(s.delay(max(s.failures, 1))))
		return
	}
	if why.Silent && !w.answered && !w.Once {
		if w.silent++; w.silent < maxSilent {
			return
		}
	}
	w.Trouble = why.Err
	if !w.answered || w.Once || why.Permanent {
		s.Leave(now, w, &Reason{Kind: Unanswered, Trouble: why.Err})
	}
}

// maxSilent is how many attempts a caller may need for its first answer from Redis.
const maxSilent = 3

// A place that is this far or farther ahead of the server's time, in µs, was given before the server's clock was set
// back: acquire.lua ignores it. The callers of one call stand a microsecond apart, which can lead a little ahead.
const maxPlaceAhead = 1000

// acquired takes the answer to a request.
func (s *State) acquired(now Instant, batch *Batch, c *Call) {
	server, late := c.Server, c.Late
	s.promoteBy = Instant{} // it has promoted
	s.takeStatus(now, c)
	before := s.Seen
	if !late && c.Callers > 0 {
		s.moreCallers = c.Callers > allHavePlaces || !c.anyWaits()
	}
	if !late {
		s.learn(now, c)
		if s.Seen.asOf = batch.Sent; before.asOf.Mono > batch.Sent.Mono { // a notification, or a later answer, came first
			s.Seen.asOf, s.Seen.overfull = before.asOf, before.overfull
		}
		s.learnQuiet(now, batch.Sent, c)
	}
	place := int64(0) // the latest that the script can have given
	for i, g := range c.Grants {
		if i == c.Stood && c.AfterPlace-server < maxPlaceAhead {
			place = max(place, c.AfterPlace)
		}
		if waits(c.Ages[i]) {
			place = max(server-c.Ages[i], place+1)
		}
		if c.Ages[i] == Again {
			if !late && batch.short(g) == nil {
				s.grantedAnew(now, batch, c, i, s.award(batch, c, i).end)
			}
			continue
		}
		if g.unanswered > 0 && !now.Reached(batch.refusedAfter) {
			g.unanswered--
		}
		if late {
			if g.State == releasing && g.hasNoOpenRequest(now) && !g.deferred {
				g.releaseAt = now
			}
			continue
		}
		expiry := c.Answers[i].Expiry
		ttl := time.Duration(c.TTL) * time.Millisecond
		survivesFailover := batch.Acknowledged >= s.replicas
		if survivesFailover && (expiry > 0 || expiry == 0 && waits(c.Ages[i])) {
			s.declared(now, batch.Sent, ttl)
		}
		switch {
		case g.State == asked && expiry > 0 && batch.short(g) != nil:
			s.refuse(now, g, batch.short(g))
		case g.State == asked && expiry > 0 && !g.takeSlots(c.slotsOf(i)):
			s.pollAt = now
		case g.State == asked && expiry > 0:
			s.granted(now, g, s.award(batch, c, i))
		case g.State == asked && expiry == answerRevoked:
			// Granted by a reply that was lost, and revoked since: nobody has used it. Its waiter asks again.
			s.detach(g)
			s.giveBack(now, g)
			s.joinAt = now
		case g.State == asked && expiry == answerTooHeavy:
			g.mayBeQueued = false
			s.Leave(now, g.waiter, s.tooHeavy())
		case g.State == asked && expiry == answerDisagree:
			g.mayBeQueued = false
			s.Leave(now, g.waiter, disagreed(c))
		case g.State == asked:
			g.inQueue = true
			if c.Refresh && waits(c.Ages[i]) && ttl >= s.declaredTTL() && (survivesFailover || s.wanted == nil) {
				s.refreshAt = batch.Sent.Add(s.Config.TTL / 2)
			}
			g.waiter.stands(server, place)
			s.refused(now, batch, g.waiter)
		case g.State == releasing && expiry > 0:
			g.takeSlots(c.slotsOf(i))
			s.adopt(now, g, s.award(batch, c, i))
		case g.State == releasing && g.hasNoOpenRequest(now) && !g.deferred:
			g.releaseAt = now
		}
	}
	if late {
		again := now.Add(s.delay(1))
		if !now.Reached(batch.giveUp) {
			again = now // the server's clock had stepped ahead: this very answer tells how far
		}
		s.joinAt = earlier(s.joinAt, again)
		return
	}
	s.pollAt = earlier(s.pollAt, earlier(now.Add(s.interval()), s.Seen.free))
}

// award is the answer to the i-th request of c, which is a grant.
func (s *State) award(batch *Batch, c *Call, i int) award {
	return award{
		at:           batch.Sent,
		end:          WindowEnd(batch.Sent, c.Answers[i].Expiry, c.Server, s.Config.Margin+c.ClockAhead),
		token:        c.Answers[i].Token,
		acknowledged: batch.Acknowledged,
		late:         s.Batch != nil,
	}
}

// polled counts a poll that found no room for those as well who are not in the shared queue.
func (s *State) polled(now Instant, batch *Batch) {
	for w := s.Waiting.first; w != nil; {
		next := w.next
		if w.grant == nil && w.since.Mono < batch.Sent.Mono {
			s.refused(now, batch, w)
		}
		w = next
	}
}

// learn takes what an acquire says of the semaphore; where it says nothing, there was room for all.
func (s *State) learn(now Instant, c *Call) {
	o := c.Occupancy
	if o == nil {
		s.Seen.busy, s.Seen.overfull, s.Seen.disagrees = false, false, false
		return
	}
	s.Seen = occupancySeen{Capacity: o.Capacity, Held: o.Held, waiting: o.Waiting, busy: o.Waiting > 0 || o.First > 0}
	s.Seen.disagrees = o.OtherCapacity > 0
	s.Seen.overfull = s.Seen.Capacity == 0 || s.Seen.Held > s.Seen.Capacity
	if o.First > 0 {
		s.Seen.free = now.Add(time.Duration(o.First*1000-c.Server)*time.Microsecond + time.Millisecond)
	}
	if o.OtherCapacity > 0 {
		s.warn(Warning{Kind: Disagreement, Capacity: o.OtherCapacity, TTL: o.OtherTTL})
		s.happened(Event{Kind: EventDisagreement, Capacity: o.OtherCapacity, TTL: o.OtherTTL})
	}
}

func (s *State) refused(now Instant, batch *Batch, w *Waiter) {
	if batch.poll || w.attempts == 0 {
		w.attempts++
	}
	s.waits(now, w)
	isFirst := !w.answered
	w.answered, w.Trouble = true, nil
	if isFirst && !w.Once && w.Own > 0 && s.Seen.Capacity > 0 && w.Own+w.Weight > s.Seen.Capacity {
		s.Leave(now, w, &Reason{Kind: Deadlock, Capacity: s.Seen.Capacity})
		return
	}
	if w.Once || w.attempts == w.MaxAttempts {
		s.Leave(now, w, s.waitedInVain(now, w))
		return
	}
	s.Listening = true
}
