package lease

import "time"

// A desk is one semaphore's state in this process: who waits, what is held, what is still to be given
// back, and the one exchange with Redis that is under way. It is pure. Its methods take the time and an
// event; they change the state, wake waiters by closing their channels, and leave the leases that have
// ended in left. They start nothing, block on nothing and read no clock, so that every race between a
// caller, a reply and the time is a sequence of calls that a test can write down.
//
// A conversation guards it, sends what it wants sent and calls it at the time that it names.
type desk struct {
	// immutable
	cfg    *stateConfig
	window time.Duration // TTL − Margin: how long a fresh grant is trusted
	pace   float64       // in (0.9, 1]: keeps processes apart that renew
	newID  func(weight int) string
	random func() float64
	born   instant // what Redis gave before is no business of this desk

	waiting line     // in order of arrival
	trying  line     // those who make one attempt and do not wait
	endings endings  // when MaxWait ends the wait of those in both
	placed  int      // weight of those in waiting that have asked Redis
	held    []*grant // renewed together
	owed    []*grant // to be given back
	flight  *exchange

	queued bool          // handed to the wire, which calls depart
	needed time.Duration // how long the server has lately taken to answer; 0: it has never answered
	weight int           // permits of all that is held
	part   int           // how many of them one exchange renews
	proven int           // how many of them one exchange has lately renewed in good time
	trip   time.Duration // how long an answer takes whatever it is: the quickest lately; 0: there was none

	setBack   bool // the server's clock was set back: the next renewal sets expiries, instead of only raising them
	listening bool // somebody waits in the shared queue: pushes are wanted
	watched   bool // somebody listens to events

	renewAt   instant // when held is renewed next; zero: nothing is held
	pollAt    instant // when the waiters poll next; zero: nobody waits
	joinAt    instant // when those who are not in the shared queue ask next; zero: nobody is
	settleAt  instant // when a release is sent next; zero: nothing is owed
	refreshAt instant // when the queue's lifetime is seen to next
	promoteAt instant // when a promotion is asked for next; zero: Redis has nothing to promote
	promoteBy instant // until when one that fails is tried again; zero: none has failed

	// No later than the first of its kind; looked at again when it has come.
	endAt  instant // end of a trust window
	holdAt instant // MaxHold

	failures int   // exchanges in a row that failed
	trouble  error // why the latest one did
	full     fullness

	pair    pair    // of the latest answer: by it, pushes are trusted
	lapsed  int64   // the largest token that Redis gave a lease which ended before it was released
	passing instant // until when a grant of this process is likely to be handed over inside it

	left *aftermath // nil: nothing is
}

// An aftermath is what a desk leaves to its conversation, to be carried out without the lock.
type aftermath struct {
	ends   []*holding // whose contexts must end
	notes  []note     // for the log
	events []stateEvent
}

// after is where to add to what is left.
func (d *desk) after() *aftermath {
	if d.left == nil {
		d.left = &aftermath{}
	}
	return d.left
}

// takeLeft hands over what is left.
func (d *desk) takeLeft() (left aftermath) {
	if d.left != nil {
		left, d.left = *d.left, nil
	}
	return left
}

// fullness is what Redis said of the semaphore when it was asked for a permit last.
type fullness struct {
	capacity, held, waiting int
	free                    instant // when the first permit expires unless it is renewed
	busy                    bool    // somebody was refused, or waits
	over                    bool    // paused, or more is held than the capacity in force
	told                    instant // when this was so, at the earliest: what was asked was sent then
}

// A note is for the log, once per semaphore and kind.
type note struct {
	kind          noteKind
	capacity, ttl int64
}

type noteKind uint8

const (
	noteMuted    noteKind = iota // pushes are not permitted
	noteDisagree                 // another process declares another capacity or TTL
)

func (d *desk) note(n note) {
	left := d.after()
	left.notes = append(left.notes, n)
}

func newDesk(cfg *stateConfig, pace float64, newID func(weight int) string, random func() float64) desk {
	return desk{
		cfg:    cfg,
		window: cfg.TTL - cfg.Margin,
		pace:   pace,
		part:   firstPart,
		newID:  newID,
		random: random,
	}
}

// lineOf returns the line that w stands in.
func (d *desk) lineOf(w *waiter) *line {
	if w.once {
		return &d.trying
	}
	return &d.waiting
}

// ask puts w in line. It asks Redis when w is among those that stand in the shared queue for this process.
func (d *desk) ask(now instant, w *waiter) {
	d.lineOf(w).push(now, w)
	d.endings.add(w)
	if w.once {
		d.joinAt = now
		return
	}
	d.join(now)
	if d.joinAt.isZero() {
		d.happened(now, nil, stateEvent{kind: eventWaiting, weight: w.weight})
	}
}

// capacity is the one in force, as far as this process knows.
func (d *desk) capacity() int {
	if d.full.busy {
		return d.full.capacity
	}
	return d.cfg.Capacity
}

// join has those who are not in the shared queue ask, if their place in the line is one that asks: now; or
// a little later, while permits that it holds are likely to pass from caller to caller inside this process
// and nothing is to be had from Redis. They bring their arrival along.
func (d *desk) join(now instant) {
	if d.placed == d.waiting.weight || d.placed > d.capacity() {
		return
	}
	at := now
	if d.full.busy && len(d.held) > 0 && !now.reached(d.passing) {
		at = earlier(d.passing, d.full.told.add(d.cfg.RetryInterval))
	}
	d.joinAt = earlier(d.joinAt, at)
}

// leave ends w's wait. A permit that it may have got meanwhile goes back; leave reports
// whether w was still waiting, so that a caller knows whether a lease had come first.
func (d *desk) leave(now instant, w *waiter, why *reason) bool {
	if !w.inLine {
		return false
	}
	w.failed = why
	d.retract(now, w)
	d.takeOut(now, w)
	close(w.done)
	return true
}

// takeOut takes w out of its line; whoever moves up may have to join the shared queue.
func (d *desk) takeOut(now instant, w *waiter) {
	d.lineOf(w).remove(w)
	d.endings.remove(w)
	if d.waiting.len > 0 {
		d.join(now)
		return
	}
	d.listening = false
	if d.trying.len == 0 {
		d.pollAt, d.joinAt = instant{}, instant{}
	}
}

// attach says that w asks for a permit under g's id.
func (d *desk) attach(w *waiter, g *grant) {
	g.waiter, w.grant = w, g
	if !w.once {
		d.placed += w.weight
	}
}

// detach ends that, and returns the waiter.
func (d *desk) detach(g *grant) *waiter {
	w := g.waiter
	g.waiter, w.grant = nil, nil
	if !w.once {
		d.placed -= w.weight
	}
	return w
}

// retract gives up what w has asked for; it needs it no more.
func (d *desk) retract(now instant, w *waiter) {
	g := w.grant
	if g == nil {
		return
	}
	d.detach(g)
	switch {
	case g.state == held:
		d.drop(g)
		d.owe(now, g)
	case g.unanswered > 0 || g.queued:
		d.owe(now, g)
	default:
		g.state = gone
	}
}

// serve gives g to the waiter that asked for it.
func (d *desk) serve(now instant, g *grant) {
	w := d.detach(g)
	d.takeOut(now, w)
	g.hold = w.hold
	w.hold.grant, w.hold.token = g, g.leaseToken()
	if w.hold.maxHold > 0 {
		w.hold.endsAt = now.add(w.hold.maxHold)
		d.holdAt = earlier(d.holdAt, w.hold.endsAt)
	}
	w.hold.began = now.mono
	d.happened(now, w.hold, stateEvent{kind: eventAcquired, waited: now.mono - w.since.mono})
	close(w.done)
}

// release gives h's permit back; its contexts have ended before. h.settled is closed when Redis has
// answered, or when the trust window ends first.
func (d *desk) release(now instant, h *holding) {
	d.tick(now) // a window that ends now is a loss
	g := h.grant
	if g.state == held || g.state == ended {
		d.happened(now, h, stateEvent{kind: eventReleased})
	}
	switch g.state {
	case held:
		if d.handOver(now, g) {
			h.result = nil
			if h.settled != nil {
				close(h.settled)
			}
			return
		}
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

// handOver passes g on to the next waiter of this process, without Redis: for a while after Redis gave
// it, so that other processes do not starve. What that waiter has asked Redis for is not needed any more.
//
// A pause, or a resize below what is held, ends it: as soon as Redis has said so, and it is asked at least every
// second RetryInterval. In an outage nothing can be told; the Handover bounds it alone.
func (d *desk) handOver(now instant, g *grant) bool {
	w := d.waiting.first
	if w == nil || w.weight != int(g.weight) || g.handed == maxHandovers-1 ||
		now.reached(g.at.add(d.cfg.Handover)) || now.until(g.until.end()) < d.window/2 {
		return false
	}
	if d.full.over || d.failures == 0 && now.reached(d.full.told.add(2*d.cfg.RetryInterval)) {
		return false
	}
	d.replace(now, w, g)
	g.handed++
	d.happened(now, nil, stateEvent{kind: eventHandedOver, id: g.id, token: g.leaseToken(), weight: w.weight})
	d.serve(now, g)
	return true
}

// replace has w get g, and give up what it has asked for itself.
func (d *desk) replace(now instant, w *waiter, g *grant) {
	if own := w.grant; own != nil {
		d.retract(now, w)
		d.postpone(own)
	}
	d.attach(w, g)
}

// postpone lets the release of a place in the shared queue wait for the next exchange: while this process
// hands its permits over, its places are not served, or are of use to its other waiters.
func (d *desk) postpone(g *grant) {
	if g.state != owed || g.sendAt.mono >= d.passing.mono {
		return
	}
	g.stale, g.sendAt = true, d.passing
	d.settleAt = d.firstDebt()
}

// dropOrphans stops renewing the permits of leases that nobody can reach any more. They are not given
// back: what their holders guarded may still be going on.
func (d *desk) dropOrphans(now instant) {
	for i := len(d.held) - 1; i >= 0; i-- {
		if h := d.held[i].hold; h != nil && h.holder.Orphaned() {
			d.end(now, h, ended, reasonAbandoned)
		}
	}
}

// end takes the permit of a lease off those that are renewed, and leaves word why.
func (d *desk) end(now instant, h *holding, state grantState, why *reason) {
	g := h.grant
	h.ending = why
	d.happened(now, h, stateEvent{kind: eventLost})
	d.drop(g)
	g.state, g.hold = state, nil
	d.lapsed = max(d.lapsed, g.token)
	left := d.after()
	left.ends = append(left.ends, h)
}

// settle tells the caller of Release how it went; why is nil when the permit was given back.
func (d *desk) settle(h *holding, why *reason) {
	h.grant.hold = nil
	h.result = why
	if h.settled != nil {
		close(h.settled)
	}
}

// keep adds g to the grants that are renewed.
func (d *desk) keep(end instant, g *grant) {
	g.state = held
	g.until.set(end)
	g.index = int32(len(d.held))
	d.held = append(d.held, g)
	d.weight += int(g.weight)
	d.endAt = earlier(d.endAt, end)
	d.renewAt = earlier(d.renewAt, end.add(d.third()-d.window))
}

// maxPassing bounds how long the places in the shared queue may lag behind the hand-overs.
const maxPassing = 10 * time.Millisecond

// third is the time between two renewals: a third of the window, a little less in some processes than
// in others.
func (d *desk) third() time.Duration { return time.Duration(float64(d.window/3) * d.pace) }

// drop takes g off the grants that are renewed.
func (d *desk) drop(g *grant) {
	d.held = cut(d.held, g)
	d.weight -= int(g.weight)
	if len(d.held) == 0 {
		d.renewAt, d.held = instant{}, emptied(d.held)
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
		d.settleAt, d.owed = instant{}, emptied(d.owed)
	}
}

// emptied is what to keep of a list that has become empty: its memory, while that is little.
func emptied(list []*grant) []*grant {
	if cap(list) > 64 {
		return nil
	}
	return list[:0]
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
func (d *desk) lose(now instant, g *grant, why reasonKind) {
	state := ended
	if why == removed {
		state = gone
	}
	if h := g.hold; h != nil {
		d.end(now, h, state, &reason{kind: why, trouble: d.trouble})
		return
	}
	// Granted, and not given to its waiter yet: nobody has used it. The waiter asks again.
	d.drop(g)
	d.detach(g)
	g.state = state
	if state == ended {
		d.owe(now, g)
	}
	d.joinAt = now
}

// close ends everything at once; nothing is given back.
func (d *desk) close(now instant) {
	d.fail(now, reasonClosed)
	for len(d.held) > 0 {
		d.end(now, d.held[0].hold, ended, reasonClosed)
	}
	for _, g := range d.owed {
		if g.hold != nil {
			d.settle(g.hold, reasonClosed)
		}
	}
	d.owed, d.settleAt = nil, instant{}
	d.flight, d.queued, d.promoteAt = nil, false, instant{}
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
	for due(now, d.endings.first()) {
		w := d.endings.list[0]
		d.leave(now, w, d.waitedInVain(now, w))
	}
	if due(now, d.settleAt) {
		d.dropMoot(now)
	}
}

func due(now, at instant) bool { return !at.isZero() && now.reached(at) }

func (d *desk) endWindows(now instant) {
	for i := len(d.held) - 1; i >= 0; i-- {
		if g := d.held[i]; now.reached(g.until.end()) {
			d.lose(now, g, expired)
		}
	}
	for _, g := range d.owed {
		if g.hold != nil && now.reached(g.until.end()) {
			d.settle(g.hold, d.unanswered())
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

// unanswered says that Redis did not answer in time.
func (d *desk) unanswered() *reason {
	if d.trouble == nil {
		return &reason{kind: unanswered, trouble: noReply.err}
	}
	return &reason{kind: unanswered, trouble: d.trouble}
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
		d.end(now, h, ended, &reason{kind: heldTooLong})
	}
}

// tooHeavy says that a waiter asks for more than there is.
func (d *desk) tooHeavy() *reason { return &reason{kind: tooHeavy, capacity: d.full.capacity} }

// waitedInVain is why a waiter gets no lease whose MaxWait or MaxAttempts is used up.
func (d *desk) waitedInVain(now instant, w *waiter) *reason {
	if w.trouble != nil {
		return &reason{kind: unanswered, trouble: w.trouble}
	}
	after := d.cfg.RetryInterval
	if !d.full.free.isZero() {
		after = min(after, max(now.until(d.full.free), time.Millisecond))
	}
	others := max(d.full.waiting, d.waiting.len)
	if !w.once {
		others-- // itself
	}
	return &reason{kind: noRoom, capacity: d.full.capacity, held: d.full.held, waiting: max(others, 0), retryAfter: after}
}

func (d *desk) dropMoot(now instant) {
	for i := len(d.owed) - 1; i >= 0; i-- {
		if g := d.owed[i]; now.reached(g.moot) {
			if g.hold != nil { // its window is longer: the server's clock has stepped back
				d.settle(g.hold, d.unanswered())
			}
			d.forget(g)
		}
	}
}

// fail ends the wait of everybody who waits.
func (d *desk) fail(now instant, why *reason) {
	for _, l := range []*line{&d.waiting, &d.trying} {
		for l.first != nil {
			d.leave(now, l.first, why)
		}
	}
}

// shorten takes back what a jump of the server's clock took from every window, and renews at once.
func (d *desk) shorten(now instant, by time.Duration) {
	d.pair = pair{}
	for w := d.waiting.first; w != nil && !w.asked.isZero(); w = w.next {
		w.place, w.asked = 0, instant{} // by another clock
	}
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
	return d.waiting.len == 0 && d.trying.len == 0 && len(d.held) == 0 && len(d.owed) == 0 &&
		d.flight == nil && !d.queued && d.promoteAt.isZero()
}

// next is when the desk wants to be called at the latest, the ends of windows left aside: they have a
// timer of their own.
func (d *desk) next() instant {
	at := earlier(d.holdAt, d.endings.first())
	switch {
	case d.flight != nil:
		return earlier(at, d.flight.giveUp)
	case d.queued:
		return at
	default:
		return earlier(earlier(at, d.renewAt), earlier(earlier(d.pollAt, d.joinAt), earlier(d.settleAt, d.promoteAt)))
	}
}
