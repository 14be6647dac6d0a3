package protocol

import "time"

// A desk is one semaphore's state in this process: who waits, what is held, what is still to be given
// back, and the one exchange with Redis that is under way. It is pure. Its methods take the time and an
// event; they change the state, wake waiters by closing their channels, and leave the leases that have
// ended in left. They start nothing, block on nothing and read no clock, so that every race between a
// caller, a reply and the time is a sequence of calls that a test can write down.
//
// A conversation guards it, sends what it wants sent and calls it at the time that it names.
type State struct {
	// immutable
	Config *Config
	Window time.Duration // TTL − Margin: how long a fresh grant is trusted
	pace   float64       // in (0.9, 1]: keeps processes apart that renew
	newID  func(weight int) string
	random func() float64
	Born   Instant // what Redis gave before is no business of this desk

	Waiting   waitlist // in order of arrival
	trying    waitlist // those who make one attempt and do not wait
	endings   endings  // when MaxWait ends the wait of those in both
	placed    int      // weight of those in waiting that have asked Redis
	held      []*Grant // renewed together
	releasing []*Grant // to be given back
	Batch     *Batch

	Queued bool          // handed to the wire, which calls depart
	Needed time.Duration // how long the server has lately taken to answer; 0: it has never answered
	weight int           // permits of all that is held
	part   int           // how many of them one exchange renews
	proven int           // how many of them one exchange has lately renewed in good time
	trip   time.Duration // how long an answer takes whatever it is: the quickest lately; 0: there was none

	SetBack   bool // the server's clock was set back: the next renewal sets expiries, instead of only raising them
	Listening bool // somebody waits in the shared queue: pushes are wanted
	Watched   bool // somebody listens to events

	RenewAt    Instant // when held is renewed next; zero: nothing is held
	pollAt     Instant // when the waiters poll next; zero: nobody waits
	joinAt     Instant // when those who are not in the shared queue ask next; zero: nobody is
	releaseDue Instant // when a release is sent next; zero: nothing is owed
	refreshAt  Instant // when the queue's lifetime is seen to next
	promoteAt  Instant // when a promotion is asked for next; zero: Redis has nothing to promote
	promoteBy  Instant // until when one that fails is tried again; zero: none has failed

	// No later than the first of its kind; looked at again when it has come.
	EndAt  Instant // end of a trust window
	holdAt Instant // MaxHold

	failures int   // exchanges in a row that failed
	Trouble  error // why the latest one did
	Full     fullness

	sample        clockSample // of the latest answer: by it, pushes are trusted
	lapsed        int64       // the largest token that Redis gave a lease which ended before it was released
	handoverUntil Instant     // until when a grant of this process is likely to be handed over inside it

	effects *Effects // nil: nothing is
}

// An aftermath is what a desk leaves to its conversation, to be carried out without the lock.
type Effects struct {
	Ends     []*Holding // whose contexts must end
	Warnings []Warning  // for the log
	Events   []Event
}

// after is where to add to what is left.
func (d *State) effectsToCome() *Effects {
	if d.effects == nil {
		d.effects = &Effects{}
	}
	return d.effects
}

// takeLeft hands over what is left.
func (d *State) TakeEffects() (left Effects) {
	if d.effects != nil {
		left, d.effects = *d.effects, nil
	}
	return left
}

// fullness is what Redis said of the semaphore when it was asked for a permit last.
type fullness struct {
	Capacity, Held, waiting int
	free                    Instant // when the first permit expires unless it is renewed
	busy                    bool    // somebody was refused, or waits
	over                    bool    // paused, or more is held than the capacity in force
	told                    Instant // when this was so, at the earliest: what was asked was sent then
}

// A note is for the log, once per semaphore and kind.
type Warning struct {
	Kind          WarningKind
	Capacity, TTL int64
}

type WarningKind uint8

const (
	Muted        WarningKind = iota // pushes are not permitted
	Disagreement                    // another process declares another capacity or TTL
)

func (d *State) warn(n Warning) {
	left := d.effectsToCome()
	left.Warnings = append(left.Warnings, n)
}

func New(cfg *Config, pace float64, newID func(weight int) string, random func() float64) State {
	return State{
		Config: cfg,
		Window: cfg.TTL - cfg.Margin,
		pace:   pace,
		part:   firstPart,
		newID:  newID,
		random: random,
	}
}

// lineOf returns the line that w stands in.
func (d *State) waitlistOf(w *Waiter) *waitlist {
	if w.Once {
		return &d.trying
	}
	return &d.Waiting
}

// ask puts w in line. It asks Redis when w is among those that stand in the shared queue for this process.
func (d *State) Ask(now Instant, w *Waiter) {
	d.waitlistOf(w).push(now, w)
	d.endings.add(w)
	if w.Once {
		d.joinAt = now
		return
	}
	d.join(now)
	if d.joinAt.IsZero() {
		d.happened(now, nil, Event{Kind: EventWaiting, Weight: w.Weight})
	}
}

// capacity is the one in force, as far as this process knows.
func (d *State) capacity() int {
	if d.Full.busy {
		return d.Full.Capacity
	}
	return d.Config.Capacity
}

// join has those who are not in the shared queue ask, if their place in the line is one that asks: now; or
// a little later, while permits that it holds are likely to pass from caller to caller inside this process
// and nothing is to be had from Redis. They bring their arrival along.
func (d *State) join(now Instant) {
	if d.placed == d.Waiting.weight || d.placed > d.capacity() {
		return
	}
	at := now
	if d.Full.busy && len(d.held) > 0 && !now.Reached(d.handoverUntil) {
		at = earlier(d.handoverUntil, d.Full.told.Add(d.Config.RetryInterval))
	}
	d.joinAt = earlier(d.joinAt, at)
}

// leave ends w's wait. A permit that it may have got meanwhile goes back; leave reports
// whether w was still waiting, so that a caller knows whether a lease had come first.
func (d *State) Leave(now Instant, w *Waiter, why *Reason) bool {
	if !w.inWaitlist {
		return false
	}
	w.Failed = why
	d.retract(now, w)
	d.takeOut(now, w)
	close(w.Done)
	return true
}

// takeOut takes w out of its line; whoever moves up may have to join the shared queue.
func (d *State) takeOut(now Instant, w *Waiter) {
	d.waitlistOf(w).remove(w)
	d.endings.remove(w)
	if d.Waiting.Len > 0 {
		d.join(now)
		return
	}
	d.Listening = false
	if d.trying.Len == 0 {
		d.pollAt, d.joinAt = Instant{}, Instant{}
	}
}

// attach says that w asks for a permit under g's id.
func (d *State) attach(w *Waiter, g *Grant) {
	g.waiter, w.grant = w, g
	if !w.Once {
		d.placed += w.Weight
	}
}

// detach ends that, and returns the waiter.
func (d *State) detach(g *Grant) *Waiter {
	w := g.waiter
	g.waiter, w.grant = nil, nil
	if !w.Once {
		d.placed -= w.Weight
	}
	return w
}

// retract gives up what w has asked for; it needs it no more.
func (d *State) retract(now Instant, w *Waiter) {
	g := w.grant
	if g == nil {
		return
	}
	d.detach(g)
	switch {
	case g.State == Held:
		d.drop(g)
		d.giveBack(now, g)
	case g.unanswered > 0 || g.queued:
		d.giveBack(now, g)
	default:
		g.State = gone
	}
}

// serve gives g to the waiter that asked for it.
func (d *State) serve(now Instant, g *Grant) {
	w := d.detach(g)
	d.takeOut(now, w)
	g.Holding = w.Holding
	w.Holding.Grant, w.Holding.Token = g, g.leaseToken()
	if w.Holding.MaxHold > 0 {
		w.Holding.EndsAt = now.Add(w.Holding.MaxHold)
		d.holdAt = earlier(d.holdAt, w.Holding.EndsAt)
	}
	w.Holding.began = now.Mono
	d.happened(now, w.Holding, Event{Kind: EventAcquired, Waited: now.Mono - w.since.Mono})
	close(w.Done)
}

// release gives h's permit back; its contexts have ended before. h.settled is closed when Redis has
// answered, or when the trust window ends first.
func (d *State) Release(now Instant, h *Holding) {
	d.Tick(now) // a window that ends now is a loss
	g := h.Grant
	if g.State == Held || g.State == ended {
		d.happened(now, h, Event{Kind: EventReleased})
	}
	switch g.State {
	case Held:
		if d.handOver(now, g) {
			h.Result = nil
			if h.Confirmed != nil {
				close(h.Confirmed)
			}
			return
		}
		d.drop(g)
		d.giveBack(now, g)
	case ended:
		d.giveBack(now, g)
	default:
		d.confirm(h, h.Ending)
		return
	}
	g.Holding = h
	if end := g.Until.End(); now.Reached(end) {
		d.confirm(h, h.Ending) // too late to wait for: time takes the permit
	} else {
		d.EndAt = earlier(d.EndAt, end)
	}
}

// handOver passes g on to the next waiter of this process, without Redis: for a while after Redis gave
// it, so that other processes do not starve. What that waiter has asked Redis for is not needed any more.
//
// A pause, or a resize below what is held, ends it: as soon as Redis has said so, and it is asked at least every
// second RetryInterval. In an outage nothing can be told; the Handover bounds it alone.
func (d *State) handOver(now Instant, g *Grant) bool {
	w := d.Waiting.first
	if w == nil || w.Weight != int(g.Weight) || g.handed == maxHandovers-1 ||
		now.Reached(g.at.Add(d.Config.Handover)) || now.Until(g.Until.End()) < d.Window/2 {
		return false
	}
	if d.Full.over || d.failures == 0 && now.Reached(d.Full.told.Add(2*d.Config.RetryInterval)) {
		return false
	}
	d.replace(now, w, g)
	g.handed++
	d.happened(now, nil, Event{Kind: EventHandedOver, ID: g.ID, Token: g.leaseToken(), Weight: w.Weight})
	d.serve(now, g)
	return true
}

// replace has w get g, and give up what it has asked for itself.
func (d *State) replace(now Instant, w *Waiter, g *Grant) {
	if own := w.grant; own != nil {
		d.retract(now, w)
		d.postpone(own)
	}
	d.attach(w, g)
}

// postpone lets the release of a place in the shared queue wait for the next exchange: while this process
// hands its permits over, its places are not served, or are of use to its other waiters.
func (d *State) postpone(g *Grant) {
	if g.State != releasing || g.releaseAt.Mono >= d.handoverUntil.Mono {
		return
	}
	g.deferred, g.releaseAt = true, d.handoverUntil
	d.releaseDue = d.firstRelease()
}

// dropOrphans stops renewing the permits of leases that nobody can reach any more. They are not given
// back: what their holders guarded may still be going on.
func (d *State) dropOrphans(now Instant) {
	for i := len(d.held) - 1; i >= 0; i-- {
		if h := d.held[i].Holding; h != nil && h.Holder.Orphaned() {
			d.end(now, h, ended, reasonAbandoned)
		}
	}
}

// end takes the permit of a lease off those that are renewed, and leaves word why.
func (d *State) end(now Instant, h *Holding, state grantState, why *Reason) {
	g := h.Grant
	h.Ending = why
	d.happened(now, h, Event{Kind: EventLost})
	d.drop(g)
	g.State, g.Holding = state, nil
	d.lapsed = max(d.lapsed, g.token)
	left := d.effectsToCome()
	left.Ends = append(left.Ends, h)
}

// settle tells the caller of Release how it went; why is nil when the permit was given back.
func (d *State) confirm(h *Holding, why *Reason) {
	h.Grant.Holding = nil
	h.Result = why
	if h.Confirmed != nil {
		close(h.Confirmed)
	}
}

// keep adds g to the grants that are renewed.
func (d *State) Keep(end Instant, g *Grant) {
	g.State = Held
	g.Until.set(end)
	g.index = int32(len(d.held))
	d.held = append(d.held, g)
	d.weight += int(g.Weight)
	d.EndAt = earlier(d.EndAt, end)
	d.RenewAt = earlier(d.RenewAt, end.Add(d.third()-d.Window))
}

// maxPassing bounds how long the places in the shared queue may lag behind the hand-overs.
const maxHandoverWindow = 10 * time.Millisecond

// third is the time between two renewals: a third of the window, a little less in some processes than
// in others.
func (d *State) third() time.Duration { return time.Duration(float64(d.Window/3) * d.pace) }

// drop takes g off the grants that are renewed.
func (d *State) drop(g *Grant) {
	d.held = cut(d.held, g)
	d.weight -= int(g.Weight)
	if len(d.held) == 0 {
		d.RenewAt, d.held = Instant{}, emptied(d.held)
	}
}

// owe puts g on the list of permits to be given back. A grant that was held goes back at once. One whose
// request may still be on its way is released when that request has come too late to take a permit:
// a release that overtook it would leave a permit that nobody knows.
func (d *State) giveBack(now Instant, g *Grant) {
	g.releaseAt = now
	if g.State == asked && !g.isQuiet(now) {
		g.releaseAt = g.lateBy
	}
	g.State = releasing
	g.expiresBy = now.Add(2 * d.Config.TTL)
	g.index = int32(len(d.releasing))
	d.releasing = append(d.releasing, g)
	d.releaseDue = earlier(d.releaseDue, g.releaseAt)
}

// forget takes g off the list of permits to be given back.
func (d *State) forget(g *Grant) {
	g.State = gone
	d.releasing = cut(d.releasing, g)
	if len(d.releasing) == 0 {
		d.releaseDue, d.releasing = Instant{}, emptied(d.releasing)
	}
}

// emptied is what to keep of a list that has become empty: its memory, while that is little.
func emptied(list []*Grant) []*Grant {
	if cap(list) > 64 {
		return nil
	}
	return list[:0]
}

// cut removes g from the list that it is in, in constant time.
func cut(list []*Grant, g *Grant) []*Grant {
	last := len(list) - 1
	moved := list[last]
	list[g.index], moved.index = moved, g.index
	list[last] = nil
	return list[:last]
}

// lose ends g, which its holder has not given back.
func (d *State) Lose(now Instant, g *Grant, why reasonKind) {
	state := ended
	if why == Removed {
		state = gone
	}
	if h := g.Holding; h != nil {
		d.end(now, h, state, &Reason{Kind: why, Trouble: d.Trouble})
		return
	}
	// Granted, and not given to its waiter yet: nobody has used it. The waiter asks again.
	d.drop(g)
	d.detach(g)
	g.State = state
	if state == ended {
		d.giveBack(now, g)
	}
	d.joinAt = now
}

// close ends everything at once; nothing is given back.
func (d *State) Close(now Instant) {
	d.Fail(now, ReasonClosed)
	for len(d.held) > 0 {
		d.end(now, d.held[0].Holding, ended, ReasonClosed)
	}
	for _, g := range d.releasing {
		if g.Holding != nil {
			d.confirm(g.Holding, ReasonClosed)
		}
	}
	d.releasing, d.releaseDue = nil, Instant{}
	d.Batch, d.Queued, d.promoteAt = nil, false, Instant{}
}

// tick does what the time demands. It may be called at any time, and every reply calls it first, so
// that nothing that has ended is ever extended.
func (d *State) Tick(now Instant) {
	if d.Batch != nil && now.Reached(d.Batch.giveUp) {
		d.giveUp(now)
	}
	if Due(now, d.EndAt) {
		d.endWindows(now)
	}
	if Due(now, d.holdAt) {
		d.endHolds(now)
	}
	for Due(now, d.endings.first()) {
		w := d.endings.list[0]
		d.Leave(now, w, d.waitedInVain(now, w))
	}
	if Due(now, d.releaseDue) {
		d.dropExpired(now)
	}
}

func Due(now, at Instant) bool { return !at.IsZero() && now.Reached(at) }

func (d *State) endWindows(now Instant) {
	for i := len(d.held) - 1; i >= 0; i-- {
		if g := d.held[i]; now.Reached(g.Until.End()) {
			d.Lose(now, g, Expired)
		}
	}
	for _, g := range d.releasing {
		if g.Holding != nil && now.Reached(g.Until.End()) {
			d.confirm(g.Holding, d.unanswered())
		}
	}
	d.EndAt = d.firstEnd()
}

// firstEnd is the first end of a window that somebody depends on.
func (d *State) firstEnd() (at Instant) {
	for _, g := range d.held {
		at = earlier(at, g.Until.End())
	}
	for _, g := range d.releasing {
		if g.Holding != nil {
			at = earlier(at, g.Until.End())
		}
	}
	return at
}

// unanswered says that Redis did not answer in time.
func (d *State) unanswered() *Reason {
	if d.Trouble == nil {
		return &Reason{Kind: Unanswered, Trouble: noReply.Err}
	}
	return &Reason{Kind: Unanswered, Trouble: d.Trouble}
}

func (d *State) endHolds(now Instant) {
	d.holdAt = Instant{}
	for i := len(d.held) - 1; i >= 0; i-- {
		g := d.held[i]
		h := g.Holding
		if h == nil || h.EndsAt.IsZero() {
			continue
		}
		if !now.Reached(h.EndsAt) {
			d.holdAt = earlier(d.holdAt, h.EndsAt)
			continue
		}
		d.end(now, h, ended, &Reason{Kind: HeldTooLong})
	}
}

// tooHeavy says that a waiter asks for more than there is.
func (d *State) tooHeavy() *Reason { return &Reason{Kind: TooHeavy, Capacity: d.Full.Capacity} }

// waitedInVain is why a waiter gets no lease whose MaxWait or MaxAttempts is used up.
func (d *State) waitedInVain(now Instant, w *Waiter) *Reason {
	if w.Trouble != nil {
		return &Reason{Kind: Unanswered, Trouble: w.Trouble}
	}
	after := d.Config.RetryInterval
	if !d.Full.free.IsZero() {
		after = min(after, max(now.Until(d.Full.free), time.Millisecond))
	}
	others := max(d.Full.waiting, d.Waiting.Len)
	if !w.Once {
		others-- // itself
	}
	return &Reason{Kind: NoRoom, Capacity: d.Full.Capacity, Held: d.Full.Held, Waiting: max(others, 0), RetryAfter: after}
}

func (d *State) dropExpired(now Instant) {
	for i := len(d.releasing) - 1; i >= 0; i-- {
		if g := d.releasing[i]; now.Reached(g.expiresBy) {
			if g.Holding != nil { // its window is longer: the server's clock has stepped back
				d.confirm(g.Holding, d.unanswered())
			}
			d.forget(g)
		}
	}
}

// fail ends the wait of everybody who waits.
func (d *State) Fail(now Instant, why *Reason) {
	for _, l := range []*waitlist{&d.Waiting, &d.trying} {
		for l.first != nil {
			d.Leave(now, l.first, why)
		}
	}
}

// shorten takes back what a jump of the server's clock took from every window, and renews at once.
func (d *State) Shorten(now Instant, by time.Duration) {
	d.sample = clockSample{}
	for w := d.Waiting.first; w != nil && !w.asked.IsZero(); w = w.next {
		w.place, w.asked = 0, Instant{} // by another clock
	}
	for _, g := range d.held {
		g.Until.set(g.Until.End().Add(-by))
	}
	if len(d.held) > 0 {
		d.EndAt, d.RenewAt = now, now
	}
	d.Tick(now)
}

// idle reports whether nobody waits, nothing is held, owed or under way.
func (d *State) Idle() bool {
	return d.Waiting.Len == 0 && d.trying.Len == 0 && len(d.held) == 0 && len(d.releasing) == 0 &&
		d.Batch == nil && !d.Queued && d.promoteAt.IsZero()
}

// next is when the desk wants to be called at the latest, the ends of windows left aside: they have a
// timer of their own.
func (d *State) Next() Instant {
	at := earlier(d.holdAt, d.endings.first())
	switch {
	case d.Batch != nil:
		return earlier(at, d.Batch.giveUp)
	case d.Queued:
		return at
	default:
		return earlier(earlier(at, d.RenewAt), earlier(earlier(d.pollAt, d.joinAt), earlier(d.releaseDue, d.promoteAt)))
	}
}
