package lease

import (
	"time"

	"github.com/eqworks/passbuddy/internal/backoff"
)

// A desk is one semaphore's state in this process: who waits, what is held, what is still to be given
// back, and the one exchange with Redis that is under way. It is pure. Its methods take the time and an
// event; they change the state, wake waiters by closing their channels, and leave the leases that have
// ended in ends. They start nothing, block on nothing and read no clock, so that every race between a
// caller, a reply and the time is a sequence of calls that a test can write down.
//
// A conversation guards it, sends what it wants sent and calls it at the time that it names.
type desk struct {
	// immutable
	cfg    *Config
	window time.Duration // TTL − Margin: how long a fresh grant is trusted
	pace   float64       // in (0.9, 1]: keeps processes apart that renew
	retry  backoff.Policy
	newID  func() string
	random func() float64

	waiting line     // in order of arrival
	held    []*grant // renewed together
	owed    []*grant // to be given back
	flight  *exchange
	queued  bool // handed to the wire, which calls depart

	renewAt  instant // when held is renewed next; zero: nothing is held
	pollAt   instant // when the waiters ask next; zero: nobody waits
	settleAt instant // when a release is sent next; zero: nothing is owed

	// No later than the first of its kind; looked at again when it has come.
	endAt  instant // end of a trust window
	holdAt instant // MaxHold
	waitAt instant // MaxWait

	failures int   // exchanges in a row that failed
	trouble  error // why the latest one did
	full     fullness

	ends []*hold // whose contexts must end, for the caller to carry out without the desk's lock
}

// fullness is what Redis said when it refused a permit.
type fullness struct {
	capacity, held int
	free           instant // when the first permit expires unless it is renewed
}

func newDesk(cfg *Config, pace float64, newID func() string, random func() float64) desk {
	return desk{
		cfg:    cfg,
		window: cfg.TTL - cfg.Margin,
		pace:   pace,
		retry:  backoff.Policy{Min: cfg.TTL / 64, Max: cfg.TTL / 16},
		newID:  newID,
		random: random,
	}
}

// ask puts w in line. It asks Redis at once when w could be served now.
func (d *desk) ask(now instant, w *waiter) {
	d.waiting.push(w)
	d.waitAt = earlier(d.waitAt, w.deadline)
	if w.once || d.waiting.len <= d.cfg.Capacity || d.pollAt.isZero() {
		d.pollAt = now
	}
}

// leave ends w's wait with err. A permit that it may have got meanwhile goes back; leave reports
// whether w was still waiting, so that a caller knows whether a lease had come first.
func (d *desk) leave(now instant, w *waiter, err error) bool {
	if !w.inLine {
		return false
	}
	d.waiting.remove(w)
	w.err = err
	close(w.done)
	if g := w.grant; g != nil {
		g.waiter, w.grant = nil, nil
		if g.state == held {
			d.drop(g)
			d.owe(now, g)
		} else if g.unanswered > 0 {
			d.owe(now, g)
		} else {
			g.state = gone
		}
	}
	if d.waiting.len == 0 {
		d.pollAt = instant{}
	}
	return true
}

// serve gives g to the waiter that asked for it.
func (d *desk) serve(now instant, g *grant) {
	w := g.waiter
	g.waiter, w.grant = nil, nil
	d.waiting.remove(w)
	if d.waiting.len == 0 {
		d.pollAt = instant{}
	}
	g.hold = w.hold
	w.hold.grant, w.hold.token = g, g.token*maxHandovers
	if w.hold.maxHold > 0 {
		w.hold.endsAt = now.add(w.hold.maxHold)
		d.holdAt = earlier(d.holdAt, w.hold.endsAt)
	}
	close(w.done)
}

// release gives h's permit back; its contexts have ended before. h.settled is closed when Redis has
// answered, or when the trust window ends first.
func (d *desk) release(now instant, h *hold) {
	d.tick(now) // a window that ends now is a loss
	g := h.grant
	switch g.state {
	case held:
		d.drop(g)
		d.owe(now, g)
	case ended:
		d.owe(now, g)
	default:
		d.settle(h, h.ending)
		return
	}
	g.hold = h
	if end := g.until.end(); now.reached(end) {
		d.settle(h, h.ending) // too late to wait for: time takes the permit
	} else {
		d.endAt = earlier(d.endAt, end)
	}
}

// dropOrphans stops renewing the permits of leases that nobody can reach any more. They are not given
// back: what their holders guarded may still be going on.
func (d *desk) dropOrphans() {
	for i := len(d.held) - 1; i >= 0; i-- {
		if h := d.held[i].hold; h != nil && h.orphaned() {
			d.end(h, ended, ErrAbandoned)
		}
	}
}

// end takes the permit of a lease off those that are renewed, and leaves word why.
func (d *desk) end(h *hold, state grantState, reason error) {
	g := h.grant
	d.drop(g)
	g.state, g.hold = state, nil
	h.ending = reason
	d.ends = append(d.ends, h)
}

// settle tells the caller of Release how it went; err is nil when the permit was given back.
func (d *desk) settle(h *hold, err error) {
	h.grant.hold = nil
	h.result = err
	if h.settled != nil {
		close(h.settled)
	}
}

// keep adds g to the grants that are renewed.
func (d *desk) keep(sent instant, g *grant, end instant) {
	g.state = held
	g.until.set(end)
	g.index = int32(len(d.held))
	d.held = append(d.held, g)
	d.endAt = earlier(d.endAt, end)
	d.renewAt = earlier(d.renewAt, sent.add(d.third()))
}

// third is the time between two renewals: a third of the window, a little less in some processes than
// in others.
func (d *desk) third() time.Duration { return time.Duration(float64(d.window/3) * d.pace) }

// drop takes g off the grants that are renewed.
func (d *desk) drop(g *grant) {
	d.held = cut(d.held, g)
	if len(d.held) == 0 {
		d.renewAt, d.held = instant{}, nil
	}
}

// owe puts g on the list of permits to be given back. A grant that was held goes back at once. One whose
// request may still be on its way is released when that request has come too late to take a permit:
// a release that overtook it would leave a permit that nobody knows.
func (d *desk) owe(now instant, g *grant) {
	g.sendAt = now
	if g.state == asked && !g.settled(now) {
		g.sendAt = g.lateBy
	}
	g.state = owed
	g.moot = now.add(2 * d.cfg.TTL)
	g.index = int32(len(d.owed))
	d.owed = append(d.owed, g)
	d.settleAt = earlier(d.settleAt, g.sendAt)
}

// forget takes g off the list of permits to be given back.
func (d *desk) forget(g *grant) {
	g.state = gone
	d.owed = cut(d.owed, g)
	if len(d.owed) == 0 {
		d.settleAt, d.owed = instant{}, nil
	}
}

// cut removes g from the list that it is in, in constant time.
func cut(list []*grant, g *grant) []*grant {
	last := len(list) - 1
	moved := list[last]
	list[g.index], moved.index = moved, g.index
	list[last] = nil
	return list[:last]
}

// lose ends g, which its holder has not given back.
func (d *desk) lose(now instant, g *grant, why LossReason) {
	state := ended
	if why == LossRemoved {
		state = gone
	}
	if h := g.hold; h != nil {
		d.end(h, state, &LostError{Name: d.cfg.Name, ID: g.id, Token: h.token, Reason: why, Err: d.trouble})
		return
	}
	// Granted, and not handed over yet: nobody has used it. Its waiter asks again.
	d.drop(g)
	g.state = state
	g.waiter.grant, g.waiter = nil, nil
	if state == ended {
		d.owe(now, g)
	}
	d.pollAt = now
}

// close ends everything at once; nothing is given back.
func (d *desk) close(now instant) {
	d.fail(now, ErrClosed)
	for len(d.held) > 0 {
		d.end(d.held[0].hold, ended, ErrClosed)
	}
	for _, g := range d.owed {
		if g.hold != nil {
			d.settle(g.hold, ErrClosed)
		}
	}
	d.owed, d.settleAt = nil, instant{}
	d.flight, d.queued = nil, false
}

// tick does what the time demands. It may be called at any time, and every reply calls it first, so
// that nothing that has ended is ever extended.
func (d *desk) tick(now instant) {
	if d.flight != nil && now.reached(d.flight.giveUp) {
		d.giveUp(now)
	}
	if due(now, d.endAt) {
		d.endWindows(now)
	}
	if due(now, d.holdAt) {
		d.endHolds(now)
	}
	if due(now, d.waitAt) {
		d.endWaits(now)
	}
	if due(now, d.settleAt) {
		d.dropMoot(now)
	}
}

func due(now, at instant) bool { return !at.isZero() && now.reached(at) }

func (d *desk) endWindows(now instant) {
	for i := len(d.held) - 1; i >= 0; i-- {
		if g := d.held[i]; now.reached(g.until.end()) {
			d.lose(now, g, LossExpired)
		}
	}
	for _, g := range d.owed {
		if g.hold != nil && now.reached(g.until.end()) {
			d.settle(g.hold, d.unanswered("release"))
		}
	}
	d.endAt = d.firstEnd()
}

// firstEnd is the first end of a window that somebody depends on.
func (d *desk) firstEnd() (at instant) {
	for _, g := range d.held {
		at = earlier(at, g.until.end())
	}
	for _, g := range d.owed {
		if g.hold != nil {
			at = earlier(at, g.until.end())
		}
	}
	return at
}

// unanswered is the error of an operation that Redis did not answer in time.
func (d *desk) unanswered(op string) error {
	err := d.trouble
	if err == nil {
		err = errNoReply
	}
	return &RedisError{Op: op, Name: d.cfg.Name, Err: err}
}

func (d *desk) endHolds(now instant) {
	d.holdAt = instant{}
	for i := len(d.held) - 1; i >= 0; i-- {
		g := d.held[i]
		h := g.hold
		if h == nil || h.endsAt.isZero() {
			continue
		}
		if !now.reached(h.endsAt) {
			d.holdAt = earlier(d.holdAt, h.endsAt)
			continue
		}
		d.end(h, ended, &HoldError{Name: d.cfg.Name, ID: g.id, Token: h.token, MaxHold: h.maxHold})
	}
}

func (d *desk) endWaits(now instant) {
	d.waitAt = instant{}
	for w := d.waiting.first; w != nil; {
		next := w.next
		if due(now, w.deadline) {
			d.leave(now, w, d.waitedInVain(now, w))
		} else {
			d.waitAt = earlier(d.waitAt, w.deadline)
		}
		w = next
	}
}

// waitedInVain is the error of a waiter whose MaxWait or MaxAttempts is used up.
func (d *desk) waitedInVain(now instant, w *waiter) error {
	if w.trouble != nil {
		return &RedisError{Op: "acquire", Name: d.cfg.Name, Err: w.trouble}
	}
	after := d.cfg.RetryInterval
	if !d.full.free.isZero() {
		after = min(after, max(now.until(d.full.free), time.Millisecond))
	}
	return &CapacityError{
		Name: d.cfg.Name, Capacity: d.full.capacity, Held: d.full.held,
		Waiting: d.waiting.len - 1, RetryAfter: after,
	}
}

func (d *desk) dropMoot(now instant) {
	for i := len(d.owed) - 1; i >= 0; i-- {
		if g := d.owed[i]; now.reached(g.moot) {
			d.forget(g)
		}
	}
}

// fail ends the wait of everybody who waits.
func (d *desk) fail(now instant, err error) {
	for d.waiting.first != nil {
		d.leave(now, d.waiting.first, err)
	}
}

// shorten takes back what a jump of the server's clock took from every window, and renews at once.
func (d *desk) shorten(now instant, by time.Duration) {
	for _, g := range d.held {
		g.until.set(g.until.end().add(-by))
	}
	if len(d.held) > 0 {
		d.endAt, d.renewAt = now, now
	}
	d.tick(now)
}

// idle reports whether nobody waits, nothing is held, owed or under way.
func (d *desk) idle() bool {
	return d.waiting.len == 0 && len(d.held) == 0 && len(d.owed) == 0 && d.flight == nil && !d.queued
}

// next is when the desk wants to be called at the latest, the ends of windows left aside: they have a
// timer of their own.
func (d *desk) next() instant {
	at := earlier(d.holdAt, d.waitAt)
	switch {
	case d.flight != nil:
		return earlier(at, d.flight.giveUp)
	case d.queued:
		return at
	default:
		return earlier(earlier(at, d.renewAt), earlier(d.pollAt, d.settleAt))
	}
}
