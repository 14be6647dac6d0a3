package lease

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
type exchange struct {
	sent     instant       // read before the first byte left
	giveUp   instant       // when its desk stops waiting for it
	patience time.Duration // after which the client drops it, given up or not
	notAfter int64         // µs of the server's clock: past it no permit is granted; 0: unlimited
	lateBy   instant       // when the server's clock has passed notAfter for certain
	renews   int           // permits
	rest     instant       // when the leases that this part of a renewal leaves over are due; zero: none is left
	poll     bool          // its requests are a poll, which counts for MaxAttempts
	behind   time.Duration // by how much the server's clock was found to be ahead after its calls had run
	calls    []call
	one      lone
}

// lone is where an exchange keeps a first call of one grant, which is most of the time the only one.
type lone struct {
	call   [1]call
	grant  [1]*grant
	age    [1]int64
	answer [1]answer
}

type verb uint8

const (
	release verb = iota
	renew
	acquire
)

func (v verb) String() string { return [...]string{"release", "renew", "acquire"}[v] }

// A call is one script with its ids. The wire fills in the answer, or err.
type call struct {
	verb    verb
	grants  []*grant
	permits int     // of all grants together
	ages    []int64 // acquire: for how many µs each has waited; once: it does not wait
	stood   int     // acquire: the first so many have a place in the queue
	behind  int64   // acquire: and the others come after this place
	refresh bool    // acquire: see to the queue's lifetime
	promote bool    // release: give what is freed to those who wait; an acquire does so anyway
	look    bool    // release: nobody seems to wait; look whether that is so
	queued  bool    // release: some may be in the shared queue, or go by another name
	removed int     // release, a plain one: how many were held
	setBack bool    // renew: the server's clock was set back: what it said before is too far ahead

	// The answer.
	late       bool       // acquire: it ran past its notAfter and asked for nothing
	muted      bool       // a push was not permitted
	more       bool       // there is somebody to promote
	unpromoted bool       // release, a plain one: the ids are out, and promoting has to be tried again
	server     int64      // renew, acquire: when it ran, in µs of the server's clock
	expiry     int64      // renew: ms of the server's clock, of each id that is held
	lost       []int64    // renew: positions, from 1, of those that are not; negative: it was revoked
	answers    []answer   // acquire, unless it was late: to each id
	occupancy  *occupancy // acquire: nil: there was room for all
	failure    failure
}

// A failure is why a call brought no answer; its zero value: it brought one.
type failure struct {
	err       error
	permanent bool // it will be the same at the next try
	silent    bool // there was no answer in time
}

const once = -1 << 63

// An answer is what became of one id of an acquire.
type answer struct {
	expiry int64 // ms of the server's clock; 0: it waits, or was refused; or one of those below
	token  int64 // µs; 0: it was not granted
}

// What an answer has in place of an expiry.
const (
	answerTooHeavy = -1 // for the capacity in force
	answerRevoked  = -2 // it was granted by a reply that was lost, and revoked since
)

// An occupancy is how full the semaphore is.
type occupancy struct {
	capacity, held, waiting int
	first                   int64 // the earliest expiry, ms; 0: nobody was refused

	otherCapacity int // what the caller of the grant before declared; 0: the same
	otherTTL      time.Duration
}

// early is how much before its time a renewal may be taken along.
func (d *desk) early() time.Duration { return min(50*time.Millisecond, d.window/8) }

func (d *desk) renewalDue(now instant) bool { return due(now.add(d.early()), d.renewAt) }

// wants reports whether the desk has something to send. One exchange is in flight at a time: what comes
// up meanwhile goes with the next one, together.
func (d *desk) wants(now instant) bool {
	return d.flight == nil && !d.queued &&
		(d.renewalDue(now) || due(now, d.pollAt) || due(now, d.joinAt) || due(now, d.settleAt) || due(now, d.promoteAt))
}

// depart returns what is to be sent now, nil if that is nothing. server is the latest reading of the
// server's clock.
func (d *desk) depart(now instant, server reading) *exchange {
	d.queued = false
	d.tick(now)
	if !d.wants(now) {
		return nil
	}
	ex := &exchange{sent: now, giveUp: now.add(d.bound()), patience: d.patience()}
	ex.lateBy = ex.giveUp
	if ex.notAfter = server.notAfter(ex.giveUp); ex.notAfter > 0 {
		ex.lateBy = server.surelyAfter(ex.notAfter)
	}
	ex.calls = ex.one.call[:0]
	asks := due(now, d.pollAt) || due(now, d.joinAt)
	if due(now, d.settleAt) || asks {
		d.addReleases(now, ex)
	}
	releases := len(ex.calls)
	if d.renewalDue(now) {
		d.addRenewals(now, ex)
	}
	if asks || releases > 0 && d.waiting.len > 0 {
		d.addRequests(now, ex)
	}
	if n := len(ex.calls); n == 0 || ex.calls[n-1].verb != acquire {
		if due(now, d.promoteAt) && releases == 0 {
			ex.calls = append(ex.calls, call{verb: release})
			releases = len(ex.calls)
		}
		if releases > 0 {
			c := &ex.calls[releases-1]
			c.look = d.nobodySeemsToWait(now, c)
			c.promote = !c.look
		}
	}
	d.promoteAt = instant{}
	if len(ex.calls) == 0 {
		d.reschedule()
		return nil
	}
	d.flight = ex
	return ex
}

// nobodySeemsToWait reports whether a release needs no script: Redis has just said that there was room, and
// all that goes back was held for a moment only.
func (d *desk) nobodySeemsToWait(now instant, c *call) bool {
	if d.full.busy || !c.plain() {
		return false
	}
	for _, g := range c.grants {
		if g.token == 0 || now.reached(g.at.add(10*time.Millisecond)) {
			return false
		}
	}
	return true
}

// plain reports whether a release needs no script to take its ids out.
func (c *call) plain() bool {
	return c.verb == release && !c.queued && len(c.grants) > 0 && c.permits == len(c.grants)
}

// add puts g into the latest call of the verb, or into a new one when that is full.
func (ex *exchange) add(v verb, g *grant) *call {
	if n := len(ex.calls); n == 0 || ex.calls[n-1].verb != v || !ex.calls[n-1].hasRoom(g) {
		ex.calls = append(ex.calls, call{verb: v})
		if n == 0 {
			ex.calls[0].grants, ex.calls[0].ages = ex.one.grant[:0], ex.one.age[:0]
			ex.calls[0].answers = ex.one.answer[:0]
		}
	}
	c := &ex.calls[len(ex.calls)-1]
	c.grants = append(c.grants, g)
	c.permits += int(g.weight)
	return c
}

func (c *call) hasRoom(g *grant) bool { return c.permits+int(g.weight) <= maxIDs }

func (d *desk) addReleases(now instant, ex *exchange) {
	for _, g := range d.owed {
		if now.reached(g.sendAt) || g.stale && g.settled(now) {
			c := ex.add(release, g)
			c.queued = c.queued || g.queued || g.unanswered > 0 || g.released
			g.released, g.sure = true, g.settled(now)
		}
	}
}

// addRequests asks for the oldest waiters, as many as could fill the capacity and one more, and for those
// who make one attempt. Those who stand in the shared queue already are left alone, unless it is time to
// poll. Where the exchange frees permits, it asks for the first of them too, as many as those permits can serve
// and one more: what the script grants those whom it speaks for needs no push. All of them would make the cost
// of a lease grow with the callers that wait.
func (d *desk) addRequests(now instant, ex *exchange) {
	ex.poll = due(now, d.pollAt)
	freed, frees := ex.frees(), len(ex.calls) > 0
	speak := frees
	all := true // are asked for
	d.joinAt = instant{}
	ahead, oneMore := 0, false
	var behind int64 // the latest place of those in front
	youngest := now.mono
	for w := d.waiting.first; w != nil && !oneMore; w = w.next {
		oneMore = ahead >= d.capacity()
		ahead += w.weight
		age := now.mono - w.since.mono
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
		if w.place == 0 && !w.grant.waits && !w.asked.isZero() {
			// No answer has settled what it asked for: that may be carried out as late as now.
			youngest = min(youngest, w.asked.mono-w.since.mono)
		}
	}
	if ex.poll || all && frees && d.cfg.MaxAttempts == 0 { // which counts polls
		d.pollAt = now.add(d.interval()) // the answer says when it is next
	}
	for w := d.trying.first; w != nil; w = w.next {
		d.request(now, ex, w, once, 0)
	}
}

// frees is the weight of what ex gives back: of permits, and of places in the queue, behind which others may
// find room.
func (ex *exchange) frees() (weight int) {
	for i := range ex.calls {
		if c := &ex.calls[i]; c.verb == release {
			weight += c.permits
		}
	}
	return weight
}

// request asks for w, which has waited for age µs. The server takes that from its time when it carries the call
// out, and not when it was sent: who comes behind w may be in a quicker call, and must not be in front for that.
func (d *desk) request(now instant, ex *exchange, w *waiter, age, behind int64) {
	g := w.grant
	if g == nil {
		g = &grant{id: d.newID(w.weight), weight: int32(w.weight)}
		d.attach(w, g)
	}
	if g.state == held {
		return // granted by a slow reply; a renewal comes before its holder gets it
	}
	if g.settled(now) {
		g.unanswered = 0
	}
	g.unanswered++
	if g.lateBy.mono < ex.lateBy.mono {
		g.lateBy = ex.lateBy
	}
	if w.asked.isZero() {
		w.asked = now
	}
	c := ex.add(acquire, g)
	c.refresh = now.reached(d.refreshAt)
	if w.place != 0 && c.stood == len(c.ages) {
		c.stood++
	} else if c.stood == len(c.ages) {
		c.behind = behind
	}
	g.queued = !w.once
	c.ages = append(c.ages, age)
}

// giveUp stops waiting for the exchange in flight. What it asked for may still be carried out.
func (d *desk) giveUp(now instant) {
	ex := d.flight
	d.flight = nil
	d.failures++
	d.trouble = noReply.err
	d.learnPart(now, ex)
	d.pair = pair{} // another server may take over
	for i := range ex.calls {
		d.failed(now, &ex.calls[i], noReply)
	}
	d.reschedule()
}

// arrive takes what came of ex, also when it was given up before.
func (d *desk) arrive(now instant, ex *exchange) {
	current := d.flight == ex
	if current {
		d.flight = nil
	}
	d.tick(now)
	var trouble error
	renewed := false
	for i := range ex.calls {
		c := &ex.calls[i]
		if c.failure.err != nil && trouble == nil {
			trouble = c.failure.err
		}
		if c.failure.err == nil && c.verb != release && ex.sent.mono >= d.pair.sent.mono {
			d.pair = pair{sent: ex.sent, micros: c.server}
		}
	}
	if trouble != nil {
		d.pair = pair{} // another server may take over
	}
	if ex.isAnswered() {
		d.learnTrip(now.mono - ex.sent.mono)
	}
	if current {
		d.trouble = trouble
		if trouble == nil {
			d.failures = 0
		} else {
			d.failures++
		}
	} else if trouble == nil {
		d.failures = 0 // the server answers, only later than it was given time for
	}
	for i := range ex.calls {
		switch c := &ex.calls[i]; {
		case c.failure.err != nil:
			if current {
				d.failed(now, c, c.failure)
			} else if c.verb == acquire && !c.failure.silent { // that it was silent was counted when it was given up
				for _, g := range c.grants {
					if w := g.waiter; w != nil && !w.answered {
						d.askedInVain(now, w, c.failure)
					}
				}
			}
		case c.verb == release:
			d.released(now, c)
		case c.verb == renew:
			d.renewed(now, ex, c, current)
			renewed = true
		case c.verb == acquire:
			d.acquired(now, ex, c)
		}
	}
	if renewed {
		d.endAt = d.firstEnd()
		if current {
			d.learnPart(now, ex)
		} else if trouble == nil {
			d.learnLate(now, ex)
		}
	}
	if ex.poll && trouble == nil && d.full.busy && d.cfg.MaxAttempts > 0 {
		d.polled(now, ex)
	}
	d.reschedule()
}

// reschedule drops the times of what is no longer there, and finds when the next release is due.
func (d *desk) reschedule() {
	if d.waiting.len == 0 && d.trying.len == 0 {
		d.pollAt, d.joinAt = instant{}, instant{}
	}
	d.settleAt = d.firstDebt()
}

// firstDebt is when the first release is due.
func (d *desk) firstDebt() (at instant) {
	for _, g := range d.owed {
		at = earlier(at, g.sendAt)
	}
	return at
}

// interval is the time between two polls, with jitter.
func (d *desk) interval() time.Duration {
	return time.Duration(float64(d.cfg.RetryInterval) * (0.75 + 0.25*d.random()))
}

// delay is the time before the next try after so many failures in a row. It has a bound of its own: what a
// server that is back is told late, a permit that is free or a window that can be moved, is late by as much, and a
// long TTL is no reason to wait.
func (d *desk) delay(failures int) time.Duration {
	return backoff.Policy{
		Min: min(d.cfg.TTL/64, maxDelay/4),
		Max: min(d.cfg.TTL/16, maxDelay),
	}.Delay(failures, d.random())
}

const maxDelay = time.Second

// failed takes a call that brought no answer: its outcome is unknown.
func (d *desk) failed(now instant, c *call, why failure) {
	again := now.add(d.delay(d.failures))
	switch c.verb {
	case release:
		if len(c.grants) == 0 && !why.permanent {
			d.promoteAgain(now, again)
		}
		for _, g := range c.grants {
			if g.state != owed {
				continue
			}
			g.sendAt = again
			if g.hold != nil && why.permanent {
				d.settle(g.hold, &reason{kind: unanswered, trouble: why.err})
			}
		}
	case renew:
		d.setBack = d.setBack || c.setBack
		d.happened(now, nil, stateEvent{kind: eventRenewalFailed, leases: len(c.grants), err: why.err})
		if len(d.held) > 0 {
			d.renewAt = earlier(d.renewAt, again)
		}
	case acquire:
		for _, g := range c.grants {
			d.askedInVain(now, g.waiter, why)
		}
		d.pollAt = earlier(d.pollAt, now.add(d.interval()))
	}
}

// askedInVain takes it that an attempt of w brought no answer; w may have been served since. Who has
// had an answer before rides it out. Who has not is told what the client says; while the client says
// nothing, a few attempts are given up first.
func (d *desk) askedInVain(now instant, w *waiter, why failure) {
	if w == nil || !w.inLine {
		return
	}
	if why.silent && !w.answered {
		if w.silent++; w.silent < maxSilent {
			return
		}
	}
	w.trouble = why.err
	if !w.answered || w.once || why.permanent {
		d.leave(now, w, &reason{kind: unanswered, trouble: why.err})
	}
}

// maxSilent is how many attempts a caller's first exchange with Redis may take when none is answered.
const maxSilent = 3

// promoteAgain has a promotion that failed tried again, for as long as it can come before the next poll of those who
// wait, which promotes too.
func (d *desk) promoteAgain(now, at instant) {
	if d.promoteBy.isZero() {
		d.promoteBy = now.add(d.cfg.RetryInterval)
	}
	if at.reached(d.promoteBy) {
		d.promoteBy = instant{}
		return
	}
	d.promoteAt = earlier(d.promoteAt, at)
}

// status takes what every reply says besides.
func (d *desk) status(now instant, c *call) {
	if c.more {
		d.promoteAt, d.promoteBy = now, instant{}
	}
	if c.muted {
		d.note(note{kind: noteMuted})
	}
}

// released takes the answer to a release. Whether the permit was still there says nothing: the client
// may have sent the release twice, when the first reply was lost.
func (d *desk) released(now instant, c *call) {
	d.status(now, c)
	if c.unpromoted {
		d.promoteAgain(now, now)
	} else if c.promote {
		d.promoteBy = instant{}
	}
	if c.plain() && c.removed < len(c.grants) {
		// One may have been revoked, and then goes by another name: the script knows it.
		for _, g := range c.grants {
			g.sendAt = now
		}
		return
	}
	for _, g := range c.grants {
		if g.state != owed {
			continue
		}
		if g.hold != nil {
			d.settle(g.hold, g.hold.ending)
		}
		switch {
		case g.sure:
			d.forget(g)
		case g.settled(now): // by an answer that came after the release had left
			g.sendAt, g.stale = now, false
		default:
			g.sendAt, g.stale = g.lateBy, false // a request may still be on its way: once more, after it
		}
	}
}

// renewed takes the answer to a renewal.
func (d *desk) renewed(now instant, ex *exchange, c *call, current bool) {
	end := windowEnd(ex.sent, c.expiry, c.server, d.cfg.Margin+ex.behind)
	d.status(now, c)
	lost := c.lost
	if d.watched {
		d.happened(now, nil, stateEvent{kind: eventRenewed, leases: len(c.grants) - len(lost), slack: slackOf(now, c.grants)})
	}
	for i, g := range c.grants {
		why, isLost := removed, false
		if n := int64(i + 1); len(lost) > 0 && (lost[0] == n || lost[0] == -n) {
			isLost = true
			if lost[0] < 0 {
				why = revoked
			}
			lost = lost[1:]
		}
		switch {
		case g.state != held:
		case isLost:
			d.lose(now, g, why)
		default:
			if end.mono > g.until.end().mono {
				g.until.set(end)
			}
			if g.waiter != nil && !now.reached(end) {
				d.serve(now, g)
			}
		}
	}
	if current && len(d.held) > 0 {
		next := ex.sent.add(d.third())
		if !ex.rest.isZero() {
			next = ex.rest
		}
		d.renewAt = earlier(d.renewAt, next)
	}
}

// slackOf is what is left of the shortest window of those that are held.
func slackOf(now instant, grants []*grant) (slack time.Duration) {
	for _, g := range grants {
		if left := now.until(g.until.end()); g.state == held && (slack == 0 || left < slack) {
			slack = left
		}
	}
	return slack
}

// otherClock is from how far ahead of the server's time on, in µs, acquire.lua takes a place to be by a clock that
// has been set back since. The callers of one call stand a microsecond apart, which can lead a little ahead.
const otherClock = 1000

// acquired takes the answer to a request.
func (d *desk) acquired(now instant, ex *exchange, c *call) {
	server, late := c.server, c.late
	d.status(now, c)
	before := d.full
	if !late {
		d.learn(now, c)
		if d.full.told = ex.sent; before.told.mono > ex.sent.mono { // a push, or a later answer, came first
			d.full.told, d.full.over = before.told, before.over
		}
	}
	place := int64(0) // as the script counts it
	for i, g := range c.grants {
		if i == c.stood && c.behind-server < otherClock {
			place = max(place, c.behind)
		}
		if c.ages[i] != once {
			place = max(server-c.ages[i], place+1)
		}
		if g.unanswered > 0 && !now.reached(ex.lateBy) {
			g.unanswered--
		}
		if late {
			if g.state == owed && g.settled(now) && !g.stale {
				g.sendAt = now
			}
			continue
		}
		expiry, token := c.answers[i].expiry, c.answers[i].token
		switch {
		case g.state == asked && expiry > 0:
			d.granted(now, ex.sent, g, windowEnd(ex.sent, expiry, server, d.cfg.Margin+ex.behind), token)
		case g.state == asked && expiry == answerRevoked:
			// Granted by a reply that was lost, and revoked since: nobody has used it. Its waiter asks again.
			d.detach(g)
			d.owe(now, g)
			d.joinAt = now
		case g.state == asked && expiry == answerTooHeavy:
			g.queued = false
			d.leave(now, g.waiter, d.tooHeavy())
		case g.state == asked:
			g.waits = true
			if c.refresh {
				d.refreshAt = ex.sent.add(d.cfg.TTL / 2)
			}
			g.waiter.stands(server, place)
			d.refused(now, ex, g.waiter)
		case g.state == owed && expiry > 0:
			d.adopt(now, ex.sent, g, windowEnd(ex.sent, expiry, server, d.cfg.Margin+ex.behind), token)
		case g.state == owed && g.settled(now) && !g.stale:
			g.sendAt = now
		}
	}
	if late {
		again := now.add(d.delay(1))
		if !now.reached(ex.giveUp) {
			again = now // the server's clock had stepped ahead: this very answer tells how far
		}
		d.joinAt = earlier(d.joinAt, again)
		return
	}
	d.pollAt = earlier(d.pollAt, earlier(now.add(d.interval()), d.full.free))
}

// polled counts a poll that found no room for those as well who are not in the shared queue.
func (d *desk) polled(now instant, ex *exchange) {
	for w := d.waiting.first; w != nil; {
		next := w.next
		if w.grant == nil && w.since.mono < ex.sent.mono {
			d.refused(now, ex, w)
		}
		w = next
	}
}

// learn takes what an acquire says of the semaphore; where it says nothing, there was room for all.
func (d *desk) learn(now instant, c *call) {
	o := c.occupancy
	if o == nil {
		d.full.busy, d.full.over = false, false
		return
	}
	d.full = fullness{capacity: o.capacity, held: o.held, waiting: o.waiting, busy: o.waiting > 0 || o.first > 0}
	d.full.over = d.full.capacity == 0 || d.full.held > d.full.capacity
	if o.first > 0 {
		d.full.free = now.add(time.Duration(o.first*1000-c.server)*time.Microsecond + time.Millisecond)
	}
	if o.otherCapacity > 0 {
		d.note(note{kind: noteDisagree, capacity: int64(o.otherCapacity), ttl: o.otherTTL.Milliseconds()})
		d.happened(now, nil, stateEvent{kind: eventDisagreement, capacity: o.otherCapacity, ttl: o.otherTTL})
	}
}

func (d *desk) refused(now instant, ex *exchange, w *waiter) {
	if ex.poll || w.attempts == 0 {
		w.attempts++
	}
	if !w.answered && !w.once {
		d.happened(now, nil, stateEvent{kind: eventWaiting, weight: w.weight})
	}
	w.answered, w.trouble = true, nil
	if w.once || w.attempts == w.maxAttempts {
		d.leave(now, w, d.waitedInVain(now, w))
		return
	}
	d.listening = true
}

// granted takes a permit for the waiter of g. A grant whose window has ended is not trusted and goes
// back; one that has little left is renewed before its holder gets it.
func (d *desk) granted(now, at instant, g *grant, end instant, token int64) {
	g.queued = false
	if now.reached(end) {
		d.detach(g)
		d.owe(now, g)
		d.joinAt = now
		return
	}
	g.token, g.at = token, at
	if at.mono > d.full.told.mono { // a push: there was room
		d.full.told, d.full.over = at, false
	}
	if d.cfg.Handover > 0 {
		d.passing = at.add(d.cfg.Handover + min(d.cfg.Handover, maxPassing))
	}
	d.keep(end, g)
	if now.until(end) < d.window*2/3 {
		d.renewAt = now
		return
	}
	d.serve(now, g)
}

// adopt takes a permit that came for a waiter who needs it no more: the next one of this process gets it,
// as if it had been handed over. If nobody can, or somebody had it before, it goes back.
func (d *desk) adopt(now, at instant, g *grant, end instant, token int64) {
	w := d.waiting.first
	if w == nil || w.weight != int(g.weight) || g.released || g.token != 0 || now.reached(end) || d.cfg.Handover < 0 ||
		d.full.over {
		g.sendAt, g.stale = now, false
		return
	}
	d.forget(g)
	g.state, g.stale = asked, false
	d.replace(now, w, g)
	d.granted(now, at, g, end, token)
}
