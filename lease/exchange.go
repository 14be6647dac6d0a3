package lease

import "time"

// maxIDs bounds the ids of one call: a script's loops and its stack are bounded by it.
const maxIDs = 500

// An exchange is one trip of a desk to Redis: releases first, because they make room, then renewals,
// then requests. It is numbered by its pointer: a desk that gave one up may still get its reply later,
// after newer ones, and every script and every method here is safe against that.
type exchange struct {
	sent     instant // read before the first byte left
	giveUp   instant // when its desk stops waiting for it
	notAfter int64   // µs of the server's clock: past it no permit is granted; 0: unlimited
	lateBy   instant // when the server's clock has passed notAfter for certain
	calls    []call
	one      [1]call // calls, most of the time
}

type verb uint8

const (
	release verb = iota
	renew
	acquire
)

func (v verb) String() string { return [...]string{"release", "renew", "acquire"}[v] }

// A call is one script with its ids. The wire fills in reply or err.
type call struct {
	verb   verb
	grants []*grant
	reply  []int64
	err    error
}

// early is how much before its time a renewal may be taken along.
func (d *desk) early() time.Duration { return min(50*time.Millisecond, d.window/8) }

func (d *desk) renewalDue(now instant) bool { return due(now.add(d.early()), d.renewAt) }

// wants reports whether the desk has something to send. One exchange is in flight at a time: what comes
// up meanwhile goes with the next one, together.
func (d *desk) wants(now instant) bool {
	return d.flight == nil && !d.queued &&
		(d.renewalDue(now) || due(now, d.pollAt) || due(now, d.settleAt))
}

// depart returns what is to be sent now, nil if that is nothing. server is the latest reading of the
// server's clock.
func (d *desk) depart(now instant, server reading) *exchange {
	d.queued = false
	d.tick(now)
	if !d.wants(now) {
		return nil
	}
	ex := &exchange{sent: now, giveUp: now.add(d.cfg.attempt())}
	ex.lateBy = ex.giveUp
	if ex.notAfter = server.notAfter(ex.giveUp); ex.notAfter > 0 {
		ex.lateBy = server.surelyAfter(ex.notAfter)
	}
	ex.calls = ex.one[:0]
	if due(now, d.settleAt) {
		d.addReleases(now, ex)
	}
	if d.renewalDue(now) {
		d.dropOrphans()
		d.renewAt = instant{}
		for ids := d.held; len(ids) > 0; {
			n := min(len(ids), maxIDs)
			ex.calls = append(ex.calls, call{verb: renew, grants: append([]*grant(nil), ids[:n]...)})
			ids = ids[n:]
		}
	}
	if d.waiting.len > 0 && (due(now, d.pollAt) || len(ex.calls) > 0 && ex.calls[0].verb == release) {
		d.addRequests(now, ex)
	}
	if len(ex.calls) == 0 {
		d.reschedule()
		return nil
	}
	d.flight = ex
	return ex
}

func (ex *exchange) add(v verb, g *grant) {
	if n := len(ex.calls); n == 0 || ex.calls[n-1].verb != v || len(ex.calls[n-1].grants) == maxIDs {
		ex.calls = append(ex.calls, call{verb: v})
	}
	c := &ex.calls[len(ex.calls)-1]
	c.grants = append(c.grants, g)
}

func (d *desk) addReleases(now instant, ex *exchange) {
	for _, g := range d.owed {
		if now.reached(g.sendAt) {
			ex.add(release, g)
		}
	}
}

// addRequests asks for the oldest waiters, as many as could be served at once.
func (d *desk) addRequests(now instant, ex *exchange) {
	d.pollAt = instant{}
	n := 0
	for w := d.waiting.first; w != nil; w = w.next {
		if n >= d.cfg.Capacity && !w.once {
			continue
		}
		g := w.grant
		if g == nil {
			g = &grant{id: d.newID(), waiter: w}
			w.grant = g
		}
		if g.state == held {
			continue // granted by a slow reply; a renewal comes before its holder gets it
		}
		if g.settled(now) {
			g.unanswered = 0
		}
		g.unanswered++
		if g.lateBy.mono < ex.lateBy.mono {
			g.lateBy = ex.lateBy
		}
		ex.add(acquire, g)
		n++
	}
}

// giveUp stops waiting for the exchange in flight. What it asked for may still be carried out.
func (d *desk) giveUp(now instant) {
	ex := d.flight
	d.flight = nil
	d.failures++
	d.trouble = errNoReply
	for i := range ex.calls {
		d.failed(now, &ex.calls[i], errNoReply)
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
		if err := ex.calls[i].err; err != nil && trouble == nil {
			trouble = err
		}
	}
	if current {
		d.trouble = trouble
		if trouble == nil {
			d.failures = 0
		} else {
			d.failures++
		}
	}
	for i := range ex.calls {
		switch c := &ex.calls[i]; {
		case c.err != nil:
			if current {
				d.failed(now, c, c.err)
			} else if c.verb == acquire {
				for _, g := range c.grants {
					if w := g.waiter; w != nil && !w.answered {
						d.askedInVain(now, w, c.err)
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
	}
	d.reschedule()
}

// reschedule drops the times of what is no longer there, and finds when the next release is due.
func (d *desk) reschedule() {
	if d.waiting.len == 0 {
		d.pollAt = instant{}
	}
	d.settleAt = instant{}
	for _, g := range d.owed {
		d.settleAt = earlier(d.settleAt, g.sendAt)
	}
}

// interval is the time between two polls, with jitter.
func (d *desk) interval() time.Duration {
	return time.Duration(float64(d.cfg.RetryInterval) * (0.75 + 0.25*d.random()))
}

// failed takes a call that brought no answer: its outcome is unknown.
func (d *desk) failed(now instant, c *call, err error) {
	again := now.add(d.retry.Delay(d.failures, d.random()))
	switch c.verb {
	case release:
		for _, g := range c.grants {
			if g.state != owed {
				continue
			}
			g.sendAt = again
			if g.hold != nil && isPermanent(err) {
				d.settle(g.hold, &RedisError{Op: "release", Name: d.cfg.Name, Err: err})
			}
		}
	case renew:
		if len(d.held) > 0 {
			d.renewAt = earlier(d.renewAt, again)
		}
	case acquire:
		for _, g := range c.grants {
			d.askedInVain(now, g.waiter, err)
		}
		d.pollAt = earlier(d.pollAt, now.add(d.interval()))
	}
}

// askedInVain takes it that an attempt of w brought no answer; w may have been served since. Who has
// had an answer before rides it out. Who has not is told what the client says; while the client says
// nothing, a few attempts are given up first.
func (d *desk) askedInVain(now instant, w *waiter, err error) {
	if w == nil || !w.inLine {
		return
	}
	if isTimeout(err) && !w.answered {
		if w.silent++; w.silent < maxSilent {
			return
		}
	}
	w.trouble = err
	if !w.answered || w.once || isPermanent(err) {
		d.leave(now, w, &RedisError{Op: "acquire", Name: d.cfg.Name, Err: err})
	}
}

// maxSilent is how many attempts a caller's first exchange with Redis may take when none is answered.
const maxSilent = 3

// released takes the answer to a release. Whether the permit was still there says nothing: the client
// may have sent the release twice, when the first reply was lost.
func (d *desk) released(now instant, c *call) {
	for _, g := range c.grants {
		if g.state != owed {
			continue
		}
		if g.hold != nil {
			d.settle(g.hold, g.hold.ending)
		}
		if g.settled(now) {
			d.forget(g)
		} else {
			g.sendAt = g.lateBy // a request may still be on its way: once more, after it
		}
	}
}

// renewed takes the answer to a renewal: now in µs, the new expiry in ms, the positions of the lost.
func (d *desk) renewed(now instant, ex *exchange, c *call, current bool) {
	end := windowEnd(ex.sent, c.reply[1], c.reply[0], d.cfg.Margin)
	lost := c.reply[2:]
	for i, g := range c.grants {
		isLost := len(lost) > 0 && lost[0] == int64(i+1)
		if isLost {
			lost = lost[1:]
		}
		switch {
		case g.state != held:
		case isLost:
			d.lose(now, g, LossRemoved)
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
		d.renewAt = earlier(d.renewAt, ex.sent.add(d.third()))
	}
}

// acquired takes the answer to a request; scripts/acquire.lua says what is in it.
func (d *desk) acquired(now instant, ex *exchange, c *call) {
	server, late := c.reply[0], c.reply[1] == 1
	if !late {
		d.full = fullness{capacity: int(c.reply[2]), held: int(c.reply[3])}
		if first := c.reply[4]; first > 0 {
			d.full.free = now.add(time.Duration(first*1000-server)*time.Microsecond + time.Millisecond)
		}
	}
	for i, g := range c.grants {
		if !late && g.unanswered > 0 && !now.reached(ex.lateBy) {
			g.unanswered--
		}
		var expiry, token int64
		if !late {
			expiry, token = c.reply[5+2*i], c.reply[6+2*i]
		}
		switch {
		case g.state == owed:
			if g.settled(now) {
				g.sendAt = now
			}
		case g.state != asked || late:
		case expiry == 0:
			d.refused(now, g)
		default:
			d.granted(now, ex, g, windowEnd(ex.sent, expiry, server, d.cfg.Margin), token)
		}
	}
	if late {
		d.pollAt = earlier(d.pollAt, now.add(d.retry.Delay(1, d.random())))
	} else {
		d.pollAt = earlier(d.pollAt, earlier(now.add(d.interval()), d.full.free))
	}
}

func (d *desk) refused(now instant, g *grant) {
	w := g.waiter
	w.attempts++
	w.answered, w.trouble = true, nil
	if w.once || w.attempts == w.maxAttempts {
		d.leave(now, w, d.waitedInVain(now, w))
	}
}

// granted takes a permit for the waiter of g. A grant whose window has ended is not trusted and goes
// back; one that has little left is renewed before its holder gets it.
func (d *desk) granted(now instant, ex *exchange, g *grant, end instant, token int64) {
	w := g.waiter
	if now.reached(end) {
		g.waiter, w.grant = nil, nil
		d.owe(now, g)
		d.pollAt = now
		return
	}
	g.token = token
	d.keep(ex.sent, g, end)
	if now.until(end) < d.window*2/3 {
		d.renewAt = now
		return
	}
	d.serve(now, g)
}
