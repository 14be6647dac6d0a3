package protocol

import (
	"slices"
	"time"

	"github.com/eqworks/passbuddy/internal/backoff"
)

// A Batch is what a state sends to Redis together: releases first, because they make room, then renewals,
// then requests. A batch is known by its pointer. Its reply may arrive after the state gave it up, and after the
// replies of newer batches; every script and every method here is safe against that.
type Batch struct {
	Sent         Instant       // read before the first byte left
	giveUp       Instant       // when its state stops waiting for it
	Patience     time.Duration // after which the client drops it, given up or not
	NotAfter     int64         // µs of the server's clock: past it no permit is granted; 0: unlimited
	refusedAfter Instant       // from then on Redis refuses its requests for certain: its clock has passed NotAfter
	Renews       int           // permits
	nextPartAt   Instant       // when the next part of this renewal is due; zero: it renews everything
	poll         bool          // its requests are a poll, which counts for MaxAttempts
	Calls        []Call
	single       single

	Replicas    int           // must acknowledge what its calls write; 0: none need
	ReplicaWait time.Duration // for how long they are waited for

	// The answer.
	Acknowledged int  // by so many
	Connected    int  // how many the server has, where too few have acknowledged; negative: it is not known
	Twice        bool // a part of it has needed a second round trip, so that its time says nothing of the server
}

// single is where a batch keeps a first call of one grant, which is most of the time the only one.
type single struct {
	call   [1]Call
	grant  [1]*Grant
	age    [1]int64
	answer [1]Answer
}

// Wants reports whether the state has something to send. One batch is under way at a time: what comes
// up meanwhile goes with the next one, together.
func (s *State) Wants(now Instant) bool {
	return s.Batch == nil && !s.AtTransport &&
		(s.RenewalDue(now) || Due(now, s.pollAt) || Due(now, s.joinAt) || Due(now, s.releaseDue) || Due(now, s.promoteAt) || Due(now, s.againAt))
}

// Depart returns what is to be sent now, nil if that is nothing. server is the latest reading of the
// server's clock.
func (s *State) Depart(now Instant, server Reading) *Batch {
	s.AtTransport = false
	s.Tick(now)
	if !s.Wants(now) {
		return nil
	}
	batch := s.Spare
	if s.Spare = nil; batch == nil {
		batch = new(Batch)
	}
	*batch = Batch{Sent: now, giveUp: now.Add(s.bound()), Patience: s.Patience()}
	batch.refusedAfter = batch.giveUp
	if batch.NotAfter = server.notAfter(batch.giveUp); batch.NotAfter > 0 {
		batch.refusedAfter = server.surelyAfter(batch.NotAfter)
	}
	batch.Calls = batch.single.call[:0]
	asks := Due(now, s.pollAt) || Due(now, s.joinAt)
	if Due(now, s.releaseDue) || asks {
		s.addReleases(now, batch)
	}
	lastRelease := len(batch.Calls) - 1 // which alone promotes; -1: none
	if s.RenewalDue(now) {
		s.addRenewals(now, batch)
	}
	if asks || lastRelease >= 0 && s.Waiting.Len > 0 {
		s.addRequests(now, batch)
	}
	if Due(now, s.againAt) {
		s.addAgain(now, batch)
	}
	if n := len(batch.Calls); n > 0 && batch.Calls[n-1].Verb == Acquire {
		s.promoteAt = Instant{} // an acquire promotes too
	} else {
		if Due(now, s.promoteAt) && lastRelease < 0 {
			lastRelease = len(batch.Calls)
			batch.Calls = append(batch.Calls, Call{Verb: Release})
		}
		if lastRelease >= 0 {
			c := &batch.Calls[lastRelease]
			c.Look = s.nobodySeemsToWait(now, c)
			c.Promote, c.Slots = !c.Look, s.slots
			s.promoteAt = Instant{}
		}
	}
	if len(batch.Calls) == 0 {
		s.Spare = batch
		s.reschedule()
		return nil
	}
	s.askReplicas(batch)
	s.Batch = batch
	return batch
}

// add puts g into the latest call of the verb, or into a new one when that is full or goes by other limits.
func (b *Batch) add(v Verb, g *Grant, capacity int, strict bool) *Call {
	if n := len(b.Calls); n == 0 || !b.Calls[n-1].goesBy(v, capacity, strict) || !b.Calls[n-1].hasRoom(g) {
		b.Calls = append(b.Calls, Call{Verb: v, Capacity: capacity, Strict: strict})
		if n == 0 {
			b.Calls[0].Grants, b.Calls[0].Ages = b.single.grant[:0], b.single.age[:0]
			b.Calls[0].Answers = b.single.answer[:0]
		}
	}
	c := &b.Calls[len(b.Calls)-1]
	c.Grants = append(c.Grants, g)
	c.Permits += int(g.Weight)
	return c
}

// giveUp stops waiting for the batch that is under way. What it asked for may still be carried out.
func (s *State) giveUp(now Instant) {
	batch := s.Batch
	s.Batch = nil
	s.troubled(now)
	s.Trouble = noReply.Err
	s.learnPart(now, batch)
	s.sample = clockSample{} // another server may take over
	for i := range batch.Calls {
		s.failed(now, &batch.Calls[i], noReply)
	}
	s.reschedule()
}

// Arrive takes the answers to batch, also when it was given up before.
func (s *State) Arrive(now Instant, batch *Batch) {
	current := s.Batch == batch
	if current {
		s.Batch = nil
	}
	s.Tick(now)
	var trouble error
	renewed := false
	for i := range batch.Calls {
		c := &batch.Calls[i]
		if c.Failure.Err != nil && trouble == nil {
			trouble = c.Failure.Err
		}
		if c.Failure.Err == nil && c.Verb != Release && batch.Sent.Mono >= s.sample.sent.Mono && c.ClockAhead == 0 {
			s.sample = clockSample{sent: batch.Sent, micros: c.Server}
		}
	}
	if trouble != nil {
		s.sample = clockSample{} // another server may take over
	}
	missing := s.unacknowledged(batch)
	if trouble == nil && missing != nil {
		trouble = missing
	}
	if batch.IsAnswered() && missing == nil && !batch.Twice {
		s.learnTrip(now.Mono - batch.Sent.Mono)
	}
	if current {
		s.Trouble = trouble
		if trouble == nil {
			s.recovered(now)
		} else {
			s.troubled(now)
		}
	} else if trouble == nil {
		s.recovered(now) // the server answers, only later than it was given time for
	}
	for i := range batch.Calls {
		switch c := &batch.Calls[i]; {
		case c.Failure.Err != nil:
			if c.Verb == Renew {
				s.takeStatus(now, c) // the first of two calls may have freed permits
			}
			if current {
				s.failed(now, c, c.Failure)
			} else if c.Verb == Acquire && !c.Failure.Silent { // giveUp has already counted that it was silent
				for _, g := range c.Grants {
					if w := g.waiter; w != nil && !w.answered {
						s.notAnswered(now, w, c.Failure)
					}
				}
			}
		case c.Verb == Release:
			s.released(now, c)
		case c.Verb == Renew:
			s.renewed(now, batch, c, current)
			renewed = true
		case c.Verb == Acquire:
			s.acquired(now, batch, c)
		}
	}
	if renewed {
		s.EndAt = s.firstEnd()
		if current {
			s.learnPart(now, batch)
		} else if trouble == nil {
			s.learnLate(now, batch)
		}
	}
	if batch.poll && trouble == nil && s.Seen.busy && s.Waiting.counting > 0 {
		s.polled(now, batch)
	}
	s.reschedule()
}

// troubled records that a batch failed.
func (s *State) troubled(now Instant) {
	if s.failures++; s.failures == 1 {
		s.failingSince = now
	}
}

// recovered records that a batch was answered.
func (s *State) recovered(now Instant) {
	if outage := now.Mono - s.failingSince.Mono; s.failures > 0 && outage > 0 { // else a late answer was given up as it came
		s.happened(Event{Kind: EventRecovered, Outage: outage})
	}
	s.failures = 0
}

// delay is the time before the next try after so many failures in a row. It is a second at most, whatever the TTL:
// when the server is back, a release or a renewal is late by no more than that.
func (s *State) delay(failures int) time.Duration {
	return backoff.Policy{
		Min: min(s.Config.TTL/64, maxDelay/4),
		Max: min(s.Config.TTL/16, maxDelay),
	}.Delay(failures, s.random())
}

const maxDelay = time.Second

// failed handles a call that brought no answer: Redis may have run it or not.
func (s *State) failed(now Instant, c *Call, why Failure) {
	again := now.Add(s.delay(s.failures))
	switch c.Verb {
	case Release:
		if len(c.Grants) == 0 && !why.Permanent {
			s.promoteAgain(now, again)
		}
		for _, g := range c.Grants {
			if g.State != releasing {
				continue
			}
			g.releaseAt = again
			if g.Holding != nil && why.Permanent {
				s.confirm(g.Holding, &Reason{Kind: Unanswered, Trouble: why.Err})
			}
		}
	case Renew:
		s.happened(Event{Kind: EventRenewalFailed, Leases: len(c.Grants), Window: s.Window, Err: why.Err})
		if len(s.held) > 0 {
			s.RenewAt = earlier(s.RenewAt, again)
		}
	case Acquire:
		for _, g := range c.Grants {
			s.notAnswered(now, g.waiter, why)
		}
		s.pollAt = earlier(s.pollAt, now.Add(s.interval()))
	}
}

// takeStatus handles the flags of a reply: there is more to promote, and notifications are not permitted.
func (s *State) takeStatus(now Instant, c *Call) {
	if c.More {
		s.promoteAt, s.promoteBy = now, Instant{}
		s.somebodyWaits(now, now)
	}
	if c.Muted {
		s.warn(Warning{Kind: Muted})
	}
}

// Patience is how long the client may go on with a batch, also after the state has given it up. An answer that comes
// then still extends windows, and tells how long the server needs. And the client keeps the connection: where the
// server is far away, a new one takes several round trips, and the next attempt must not begin with that again.
func (s *State) Patience() time.Duration {
	if !s.IsQuick() {
		return s.Window
	}
	return 4 * s.Config.Attempt()
}

// IsQuick reports whether the server has answered before, and lately in a fraction of the time that it is given.
func (s *State) IsQuick() bool { return s.Needed > 0 && s.Needed <= s.Config.Attempt()/4 }

// IsAnswered reports whether the server answered any call of b.
func (b *Batch) IsAnswered() bool {
	return slices.ContainsFunc(b.Calls, func(c Call) bool { return c.Failure.Err == nil })
}
