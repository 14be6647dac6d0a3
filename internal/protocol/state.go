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

// reschedule drops the times of what is no longer there, and finds when the next release is due.
func (d *State) reschedule() {
	if d.Waiting.Len == 0 && d.trying.Len == 0 {
		d.pollAt, d.joinAt = Instant{}, Instant{}
	}
	d.releaseDue = d.firstRelease()
}
