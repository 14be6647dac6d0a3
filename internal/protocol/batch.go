package protocol

import (
	"slices"
	"time"

	"github.com/eqworks/passbuddy/internal/backoff"
)

// An exchange is one trip of a desk to Redis: releases first, because they make room, then renewals,
// then requests. It is numbered by its pointer: a desk that gave one up may still get its reply later,
// after newer ones, and every script and every method here is safe against that.
type Batch struct {
	Sent     Instant       // read before the first byte left
	giveUp   Instant       // when its desk stops waiting for it
	Patience time.Duration // after which the client drops it, given up or not
	NotAfter int64         // µs of the server's clock: past it no permit is granted; 0: unlimited
	lateBy   Instant       // when the server's clock has passed notAfter for certain
	Renews   int           // permits
	rest     Instant       // when the leases that this part of a renewal leaves over are due; zero: none is left
	poll     bool          // its requests are a poll, which counts for MaxAttempts
	Behind   time.Duration // by how much the server's clock was found to be ahead after its calls had run
	Calls    []Call
	one      lone
}

// lone is where an exchange keeps a first call of one grant, which is most of the time the only one.
type lone struct {
	call   [1]Call
	grant  [1]*Grant
	age    [1]int64
	answer [1]Answer
}

// wants reports whether the desk has something to send. One exchange is in flight at a time: what comes
// up meanwhile goes with the next one, together.
func (d *State) Wants(now Instant) bool {
	return d.Batch == nil && !d.Queued &&
		(d.RenewalDue(now) || Due(now, d.pollAt) || Due(now, d.joinAt) || Due(now, d.releaseDue) || Due(now, d.promoteAt))
}

// depart returns what is to be sent now, nil if that is nothing. server is the latest reading of the
// server's clock.
func (d *State) Depart(now Instant, server Reading) *Batch {
	d.Queued = false
	d.Tick(now)
	if !d.Wants(now) {
		return nil
	}
	ex := &Batch{Sent: now, giveUp: now.Add(d.bound()), Patience: d.Patience()}
	ex.lateBy = ex.giveUp
	if ex.NotAfter = server.notAfter(ex.giveUp); ex.NotAfter > 0 {
		ex.lateBy = server.surelyAfter(ex.NotAfter)
	}
	ex.Calls = ex.one.call[:0]
	asks := Due(now, d.pollAt) || Due(now, d.joinAt)
	if Due(now, d.releaseDue) || asks {
		d.addReleases(now, ex)
	}
	releases := len(ex.Calls)
	if d.RenewalDue(now) {
		d.addRenewals(now, ex)
	}
	if asks || releases > 0 && d.Waiting.Len > 0 {
		d.addRequests(now, ex)
	}
	if n := len(ex.Calls); n == 0 || ex.Calls[n-1].Verb != Acquire {
		if Due(now, d.promoteAt) && releases == 0 {
			ex.Calls = append(ex.Calls, Call{Verb: Release})
			releases = len(ex.Calls)
		}
		if releases > 0 {
			c := &ex.Calls[releases-1]
			c.Look = d.nobodySeemsToWait(now, c)
			c.Promote = !c.Look
		}
	}
	d.promoteAt = Instant{}
	if len(ex.Calls) == 0 {
		d.reschedule()
		return nil
	}
	d.Batch = ex
	return ex
}

// add puts g into the latest call of the verb, or into a new one when that is full.
func (ex *Batch) add(v Verb, g *Grant) *Call {
	if n := len(ex.Calls); n == 0 || ex.Calls[n-1].Verb != v || !ex.Calls[n-1].hasRoom(g) {
		ex.Calls = append(ex.Calls, Call{Verb: v})
		if n == 0 {
			ex.Calls[0].Grants, ex.Calls[0].Ages = ex.one.grant[:0], ex.one.age[:0]
			ex.Calls[0].Answers = ex.one.answer[:0]
		}
	}
	c := &ex.Calls[len(ex.Calls)-1]
	c.Grants = append(c.Grants, g)
	c.Permits += int(g.Weight)
	return c
}

// giveUp stops waiting for the exchange in flight. What it asked for may still be carried out.
func (d *State) giveUp(now Instant) {
	ex := d.Batch
	d.Batch = nil
	d.failures++
	d.Trouble = noReply.Err
	d.learnPart(now, ex)
	d.sample = clockSample{} // another server may take over
	for i := range ex.Calls {
		d.failed(now, &ex.Calls[i], noReply)
	}
	d.reschedule()
}

// arrive takes what came of ex, also when it was given up before.
func (d *State) Arrive(now Instant, ex *Batch) {
	current := d.Batch == ex
	if current {
		d.Batch = nil
	}
	d.Tick(now)
	var trouble error
	renewed := false
	for i := range ex.Calls {
		c := &ex.Calls[i]
		if c.Failure.Err != nil && trouble == nil {
			trouble = c.Failure.Err
		}
		if c.Failure.Err == nil && c.Verb != Release && ex.Sent.Mono >= d.sample.sent.Mono {
			d.sample = clockSample{sent: ex.Sent, micros: c.Server}
		}
	}
	if trouble != nil {
		d.sample = clockSample{} // another server may take over
	}
	if ex.IsAnswered() {
		d.learnTrip(now.Mono - ex.Sent.Mono)
	}
	if current {
		d.Trouble = trouble
		if trouble == nil {
			d.failures = 0
		} else {
			d.failures++
		}
	} else if trouble == nil {
		d.failures = 0 // the server answers, only later than it was given time for
	}
	for i := range ex.Calls {
		switch c := &ex.Calls[i]; {
		case c.Failure.Err != nil:
			if current {
				d.failed(now, c, c.Failure)
			} else if c.Verb == Acquire && !c.Failure.Silent { // that it was silent was counted when it was given up
				for _, g := range c.Grants {
					if w := g.waiter; w != nil && !w.answered {
						d.askedInVain(now, w, c.Failure)
					}
				}
			}
		case c.Verb == Release:
			d.released(now, c)
		case c.Verb == Renew:
			d.renewed(now, ex, c, current)
			renewed = true
		case c.Verb == Acquire:
			d.acquired(now, ex, c)
		}
	}
	if renewed {
		d.EndAt = d.firstEnd()
		if current {
			d.learnPart(now, ex)
		} else if trouble == nil {
			d.learnLate(now, ex)
		}
	}
	if ex.poll && trouble == nil && d.Full.busy && d.Config.MaxAttempts > 0 {
		d.polled(now, ex)
	}
	d.reschedule()
}

// delay is the time before the next try after so many failures in a row. It has a bound of its own: what a
// server that is back is told late, a permit that is free or a window that can be moved, is late by as much, and a
// long TTL is no reason to wait.
func (d *State) delay(failures int) time.Duration {
	return backoff.Policy{
		Min: min(d.Config.TTL/64, maxDelay/4),
		Max: min(d.Config.TTL/16, maxDelay),
	}.Delay(failures, d.random())
}

const maxDelay = time.Second

// failed takes a call that brought no answer: its outcome is unknown.
func (d *State) failed(now Instant, c *Call, why Failure) {
	again := now.Add(d.delay(d.failures))
	switch c.Verb {
	case Release:
		if len(c.Grants) == 0 && !why.Permanent {
			d.promoteAgain(now, again)
		}
		for _, g := range c.Grants {
			if g.State != releasing {
				continue
			}
			g.releaseAt = again
			if g.Holding != nil && why.Permanent {
				d.confirm(g.Holding, &Reason{Kind: Unanswered, Trouble: why.Err})
			}
		}
	case Renew:
		d.SetBack = d.SetBack || c.SetBack
		d.happened(now, nil, Event{Kind: EventRenewalFailed, Leases: len(c.Grants), Err: why.Err})
		if len(d.held) > 0 {
			d.RenewAt = earlier(d.RenewAt, again)
		}
	case Acquire:
		for _, g := range c.Grants {
			d.askedInVain(now, g.waiter, why)
		}
		d.pollAt = earlier(d.pollAt, now.Add(d.interval()))
	}
}

// status takes what every reply says besides.
func (d *State) status(now Instant, c *Call) {
	if c.More {
		d.promoteAt, d.promoteBy = now, Instant{}
	}
	if c.Muted {
		d.warn(Warning{Kind: Muted})
	}
}

// patience is how long the client may go on with an exchange that was given up. What comes late still counts, tells how
// long the server needs, and leaves a connection: where the server is far away, to make one takes several round trips,
// and must not begin from the start with each attempt.
func (d *State) Patience() time.Duration {
	if d.Needed == 0 || d.Needed > d.Config.Attempt()/4 {
		return d.Window
	}
	return 4 * d.Config.Attempt()
}

// isAnswered reports whether the server answered any call of ex.
func (ex *Batch) IsAnswered() bool {
	return slices.ContainsFunc(ex.Calls, func(c Call) bool { return c.Failure.Err == nil })
}
