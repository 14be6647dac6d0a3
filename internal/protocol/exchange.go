package protocol

import (
	"time"

	"github.com/eqworks/passbuddy/internal/backoff"
)

// maxIDs bounds the permits of one call, unless a single id has more: a script's loops and its stack are
// bounded by it.
const maxIDs = 500

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

type Verb uint8

const (
	Release Verb = iota
	Renew
	Acquire
)

func (v Verb) String() string { return [...]string{"release", "renew", "acquire"}[v] }

// A call is one script with its ids. The wire fills in the answer, or err.
type Call struct {
	Verb    Verb
	Grants  []*Grant
	Permits int     // of all grants together
	Ages    []int64 // acquire: for how many µs each has waited; once: it does not wait
	Stood   int     // acquire: the first so many have a place in the queue
	Behind  int64   // acquire: and the others come after this place
	Refresh bool    // acquire: see to the queue's lifetime
	Promote bool    // release: give what is freed to those who wait; an acquire does so anyway
	Look    bool    // release: nobody seems to wait; look whether that is so
	Queued  bool    // release: some may be in the shared queue, or go by another name
	Removed int     // release, a plain one: how many were held
	SetBack bool    // renew: the server's clock was set back: what it said before is too far ahead

	// The answer.
	Late       bool       // acquire: it ran past its notAfter and asked for nothing
	Muted      bool       // a push was not permitted
	More       bool       // there is somebody to promote
	Unpromoted bool       // release, a plain one: the ids are out, and promoting has to be tried again
	Server     int64      // renew, acquire: when it ran, in µs of the server's clock
	Expiry     int64      // renew: ms of the server's clock, of each id that is held
	Lost       []int64    // renew: positions, from 1, of those that are not; negative: it was revoked
	Answers    []Answer   // acquire, unless it was late: to each id
	Occupancy  *Occupancy // acquire: nil: there was room for all
	Failure    Failure
}

// A failure is why a call brought no answer; its zero value: it brought one.
type Failure struct {
	Err       error
	Permanent bool // it will be the same at the next try
	Silent    bool // there was no answer in time
}

const Once = -1 << 63

// An answer is what became of one id of an acquire.
type Answer struct {
	Expiry int64 // ms of the server's clock; 0: it waits, or was refused; or one of those below
	Token  int64 // µs; 0: it was not granted
}

// What an answer has in place of an expiry.
const (
	answerTooHeavy = -1 // for the capacity in force
	answerRevoked  = -2 // it was granted by a reply that was lost, and revoked since
)

// An occupancy is how full the semaphore is.
type Occupancy struct {
	Capacity, Held, Waiting int
	First                   int64 // the earliest expiry, ms; 0: nobody was refused

	OtherCapacity int // what the caller of the grant before declared; 0: the same
	OtherTTL      time.Duration
}

// early is how much before its time a renewal may be taken along.
func (d *State) early() time.Duration { return min(50*time.Millisecond, d.Window/8) }

func (d *State) RenewalDue(now Instant) bool { return Due(now.Add(d.early()), d.RenewAt) }

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

// nobodySeemsToWait reports whether a release needs no script: Redis has just said that there was room, and
// all that goes back was held for a moment only.
func (d *State) nobodySeemsToWait(now Instant, c *Call) bool {
	if d.Full.busy || !c.Plain() {
		return false
	}
	for _, g := range c.Grants {
		if g.token == 0 || now.Reached(g.at.Add(10*time.Millisecond)) {
			return false
		}
	}
	return true
}

// plain reports whether a release needs no script to take its ids out.
func (c *Call) Plain() bool {
	return c.Verb == Release && !c.Queued && len(c.Grants) > 0 && c.Permits == len(c.Grants)
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

func (c *Call) hasRoom(g *Grant) bool { return c.Permits+int(g.Weight) <= maxIDs }

func (d *State) addReleases(now Instant, ex *Batch) {
	for _, g := range d.releasing {
		if now.Reached(g.releaseAt) || g.deferred && g.isQuiet(now) {
			c := ex.add(Release, g)
			c.Queued = c.Queued || g.queued || g.unanswered > 0 || g.released
			g.released, g.final = true, g.isQuiet(now)
		}
	}
}

// addRequests asks for the oldest waiters, as many as could fill the capacity and one more, and for those
// who make one attempt. Those who stand in the shared queue already are left alone, unless it is time to
// poll. Where the exchange frees permits, it asks for the first of them too, as many as those permits can serve
// and one more: what the script grants those whom it speaks for needs no push. All of them would make the cost
// of a lease grow with the callers that wait.
func (d *State) addRequests(now Instant, ex *Batch) {
	ex.poll = Due(now, d.pollAt)
	freed, frees := ex.frees(), len(ex.Calls) > 0
	speak := frees
	all := true // are asked for
	d.joinAt = Instant{}
	ahead, oneMore := 0, false
	var behind int64 // the latest place of those in front
	youngest := now.Mono
	for w := d.Waiting.first; w != nil && !oneMore; w = w.next {
		oneMore = ahead >= d.capacity()
		ahead += w.Weight
		age := now.Mono - w.since.Mono
		if w.place == 0 {
			age = min(age, youngest)
		}
		if ex.poll || speak || w.grant == nil || !w.grant.waits || w.grant.unanswered > 0 {
			d.request(now, ex, w, age.Microseconds(), behind)
		} else {
			all = false
		}
		speak = speak && ahead <= freed
		behind = max(behind, w.place)
		if w.place == 0 && !w.grant.waits && !w.asked.IsZero() {
			// No answer has settled what it asked for: that may be carried out as late as now.
			youngest = min(youngest, w.asked.Mono-w.since.Mono)
		}
	}
	if ex.poll || all && frees && d.Config.MaxAttempts == 0 { // which counts polls
		d.pollAt = now.Add(d.interval()) // the answer says when it is next
	}
	for w := d.trying.first; w != nil; w = w.next {
		d.request(now, ex, w, Once, 0)
	}
}

// frees is the weight of what ex gives back: of permits, and of places in the queue, behind which others may
// find room.
func (ex *Batch) frees() (weight int) {
	for i := range ex.Calls {
		if c := &ex.Calls[i]; c.Verb == Release {
			weight += c.Permits
		}
	}
	return weight
}

// request asks for w, which has waited for age µs. The server takes that from its time when it carries the call
// out, and not when it was sent: who comes behind w may be in a quicker call, and must not be in front for that.
func (d *State) request(now Instant, ex *Batch, w *Waiter, age, behind int64) {
	g := w.grant
	if g == nil {
		g = &Grant{ID: d.newID(w.Weight), Weight: int32(w.Weight)}
		d.attach(w, g)
	}
	if g.State == Held {
		return // granted by a slow reply; a renewal comes before its holder gets it
	}
	if g.isQuiet(now) {
		g.unanswered = 0
	}
	g.unanswered++
	if g.lateBy.Mono < ex.lateBy.Mono {
		g.lateBy = ex.lateBy
	}
	if w.asked.IsZero() {
		w.asked = now
	}
	c := ex.add(Acquire, g)
	c.Refresh = now.Reached(d.refreshAt)
	if w.place != 0 && c.Stood == len(c.Ages) {
		c.Stood++
	} else if c.Stood == len(c.Ages) {
		c.Behind = behind
	}
	g.queued = !w.Once
	c.Ages = append(c.Ages, age)
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

// reschedule drops the times of what is no longer there, and finds when the next release is due.
func (d *State) reschedule() {
	if d.Waiting.Len == 0 && d.trying.Len == 0 {
		d.pollAt, d.joinAt = Instant{}, Instant{}
	}
	d.releaseDue = d.firstRelease()
}

// firstDebt is when the first release is due.
func (d *State) firstRelease() (at Instant) {
	for _, g := range d.releasing {
		at = earlier(at, g.releaseAt)
	}
	return at
}

// interval is the time between two polls, with jitter.
func (d *State) interval() time.Duration {
	return time.Duration(float64(d.Config.RetryInterval) * (0.75 + 0.25*d.random()))
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

// askedInVain takes it that an attempt of w brought no answer; w may have been served since. Who has
// had an answer before rides it out. Who has not is told what the client says; while the client says
// nothing, a few attempts are given up first.
func (d *State) askedInVain(now Instant, w *Waiter, why Failure) {
	if w == nil || !w.inWaitlist {
		return
	}
	if why.Silent && !w.answered {
		if w.silent++; w.silent < maxSilent {
			return
		}
	}
	w.Trouble = why.Err
	if !w.answered || w.Once || why.Permanent {
		d.Leave(now, w, &Reason{Kind: Unanswered, Trouble: why.Err})
	}
}

// maxSilent is how many attempts a caller's first exchange with Redis may take when none is answered.
const maxSilent = 3

// promoteAgain has a promotion that failed tried again, for as long as it can come before the next poll of those who
// wait, which promotes too.
func (d *State) promoteAgain(now, at Instant) {
	if d.promoteBy.IsZero() {
		d.promoteBy = now.Add(d.Config.RetryInterval)
	}
	if at.Reached(d.promoteBy) {
		d.promoteBy = Instant{}
		return
	}
	d.promoteAt = earlier(d.promoteAt, at)
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

// released takes the answer to a release. Whether the permit was still there says nothing: the client
// may have sent the release twice, when the first reply was lost.
func (d *State) released(now Instant, c *Call) {
	d.status(now, c)
	if c.Unpromoted {
		d.promoteAgain(now, now)
	} else if c.Promote {
		d.promoteBy = Instant{}
	}
	if c.Plain() && c.Removed < len(c.Grants) {
		// One may have been revoked, and then goes by another name: the script knows it.
		for _, g := range c.Grants {
			g.releaseAt = now
		}
		return
	}
	for _, g := range c.Grants {
		if g.State != releasing {
			continue
		}
		if g.Holding != nil {
			d.confirm(g.Holding, g.Holding.Ending)
		}
		switch {
		case g.final:
			d.forget(g)
		case g.isQuiet(now): // by an answer that came after the release had left
			g.releaseAt, g.deferred = now, false
		default:
			g.releaseAt, g.deferred = g.lateBy, false // a request may still be on its way: once more, after it
		}
	}
}

// renewed takes the answer to a renewal.
func (d *State) renewed(now Instant, ex *Batch, c *Call, current bool) {
	end := WindowEnd(ex.Sent, c.Expiry, c.Server, d.Config.Margin+ex.Behind)
	d.status(now, c)
	lost := c.Lost
	if d.Watched {
		d.happened(now, nil, Event{Kind: EventRenewed, Leases: len(c.Grants) - len(lost), Slack: slackOf(now, c.Grants)})
	}
	for i, g := range c.Grants {
		why, isLost := Removed, false
		if n := int64(i + 1); len(lost) > 0 && (lost[0] == n || lost[0] == -n) {
			isLost = true
			if lost[0] < 0 {
				why = Revoked
			}
			lost = lost[1:]
		}
		switch {
		case g.State != Held:
		case isLost:
			d.Lose(now, g, why)
		default:
			if end.Mono > g.Until.End().Mono {
				g.Until.set(end)
			}
			if g.waiter != nil && !now.Reached(end) {
				d.serve(now, g)
			}
		}
	}
	if current && len(d.held) > 0 {
		next := ex.Sent.Add(d.third())
		if !ex.rest.IsZero() {
			next = ex.rest
		}
		d.RenewAt = earlier(d.RenewAt, next)
	}
}

// slackOf is what is left of the shortest window of those that are held.
func slackOf(now Instant, grants []*Grant) (slack time.Duration) {
	for _, g := range grants {
		if left := now.Until(g.Until.End()); g.State == Held && (slack == 0 || left < slack) {
			slack = left
		}
	}
	return slack
}

// otherClock is from how far ahead of the server's time on, in µs, acquire.lua takes a place to be by a clock that
// has been set back since. The callers of one call stand a microsecond apart, which can lead a little ahead.
const otherClock = 1000

// acquired takes the answer to a request.
func (d *State) acquired(now Instant, ex *Batch, c *Call) {
	server, late := c.Server, c.Late
	d.status(now, c)
	before := d.Full
	if !late {
		d.learn(now, c)
		if d.Full.told = ex.Sent; before.told.Mono > ex.Sent.Mono { // a push, or a later answer, came first
			d.Full.told, d.Full.over = before.told, before.over
		}
	}
	place := int64(0) // as the script counts it
	for i, g := range c.Grants {
		if i == c.Stood && c.Behind-server < otherClock {
			place = max(place, c.Behind)
		}
		if c.Ages[i] != Once {
			place = max(server-c.Ages[i], place+1)
		}
		if g.unanswered > 0 && !now.Reached(ex.lateBy) {
			g.unanswered--
		}
		if late {
			if g.State == releasing && g.isQuiet(now) && !g.deferred {
				g.releaseAt = now
			}
			continue
		}
		expiry, token := c.Answers[i].Expiry, c.Answers[i].Token
		switch {
		case g.State == asked && expiry > 0:
			d.granted(now, ex.Sent, g, WindowEnd(ex.Sent, expiry, server, d.Config.Margin+ex.Behind), token)
		case g.State == asked && expiry == answerRevoked:
			// Granted by a reply that was lost, and revoked since: nobody has used it. Its waiter asks again.
			d.detach(g)
			d.giveBack(now, g)
			d.joinAt = now
		case g.State == asked && expiry == answerTooHeavy:
			g.queued = false
			d.Leave(now, g.waiter, d.tooHeavy())
		case g.State == asked:
			g.waits = true
			if c.Refresh {
				d.refreshAt = ex.Sent.Add(d.Config.TTL / 2)
			}
			g.waiter.stands(server, place)
			d.refused(now, ex, g.waiter)
		case g.State == releasing && expiry > 0:
			d.adopt(now, ex.Sent, g, WindowEnd(ex.Sent, expiry, server, d.Config.Margin+ex.Behind), token)
		case g.State == releasing && g.isQuiet(now) && !g.deferred:
			g.releaseAt = now
		}
	}
	if late {
		again := now.Add(d.delay(1))
		if !now.Reached(ex.giveUp) {
			again = now // the server's clock had stepped ahead: this very answer tells how far
		}
		d.joinAt = earlier(d.joinAt, again)
		return
	}
	d.pollAt = earlier(d.pollAt, earlier(now.Add(d.interval()), d.Full.free))
}

// polled counts a poll that found no room for those as well who are not in the shared queue.
func (d *State) polled(now Instant, ex *Batch) {
	for w := d.Waiting.first; w != nil; {
		next := w.next
		if w.grant == nil && w.since.Mono < ex.Sent.Mono {
			d.refused(now, ex, w)
		}
		w = next
	}
}

// learn takes what an acquire says of the semaphore; where it says nothing, there was room for all.
func (d *State) learn(now Instant, c *Call) {
	o := c.Occupancy
	if o == nil {
		d.Full.busy, d.Full.over = false, false
		return
	}
	d.Full = fullness{Capacity: o.Capacity, Held: o.Held, waiting: o.Waiting, busy: o.Waiting > 0 || o.First > 0}
	d.Full.over = d.Full.Capacity == 0 || d.Full.Held > d.Full.Capacity
	if o.First > 0 {
		d.Full.free = now.Add(time.Duration(o.First*1000-c.Server)*time.Microsecond + time.Millisecond)
	}
	if o.OtherCapacity > 0 {
		d.warn(Warning{Kind: Disagreement, Capacity: int64(o.OtherCapacity), TTL: o.OtherTTL.Milliseconds()})
		d.happened(now, nil, Event{Kind: EventDisagreement, Capacity: o.OtherCapacity, TTL: o.OtherTTL})
	}
}

func (d *State) refused(now Instant, ex *Batch, w *Waiter) {
	if ex.poll || w.attempts == 0 {
		w.attempts++
	}
	if !w.answered && !w.Once {
		d.happened(now, nil, Event{Kind: EventWaiting, Weight: w.Weight})
	}
	w.answered, w.Trouble = true, nil
	if w.Once || w.attempts == w.MaxAttempts {
		d.Leave(now, w, d.waitedInVain(now, w))
		return
	}
	d.Listening = true
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
