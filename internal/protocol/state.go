// Package protocol decides what one process does for one semaphore: what it asks Redis for, which waiter gets a permit,
// what it renews and releases, and when a lease is lost. It does no I/O, has no goroutine and reads no clock: its caller
// passes the time, the answers of Redis and the notifications. Start with State.
package protocol

import "time"

// A State is one semaphore's state in this process: who waits, what is held, what is still to be given
// back, and the one batch that is under way to Redis. Its methods take the time and an event. They change the state,
// wake waiters by closing their channels, and put the leases that have ended into Effects. They start nothing and
// block on nothing, so that every race between a caller, a reply and the time is a sequence of calls that a test can
// write down.
//
// It is not safe for concurrent use: a driver holds a lock, sends the state's batches, and calls the state at the time
// that Next returns.
type State struct {
	Config     *Config       // in force; changed by Reconfigure
	wanted     *Config       // has a longer TTL, and is in force once Redis knows that; nil: there is none
	wantedAt   Instant       // since when
	leastTTL   time.Duration // before the TTL became longer, until all that is held is renewed by it; 0: as in force
	Window     time.Duration // TTL − Margin: how long a fresh grant is trusted
	longestTTL time.Duration // that it has had

	// immutable
	pace   float64 // in (0.9, 1]: keeps processes apart that renew
	newID  func(weight int, label string) string
	random func() float64
	Born   Instant // when it was made: a grant that Redis made before belongs to a state before this one

	Waiting         waitlist // in order of arrival
	trying          waitlist // those who make one attempt and do not wait
	endings         endings  // when MaxWait ends the wait of those in both
	requestedWeight int      // weight of those in Waiting that have asked Redis
	held            []*Grant // renewed together
	releasing       []*Grant // to be given back
	Batch           *Batch
	Spare           *Batch // of no use to anybody any more; Depart makes it the next one

	AtTransport bool          // the driver is on the transport's list, which calls Depart
	Needed      time.Duration // how long the server has lately taken to answer; 0: it has never answered
	weight      int           // permits of all that is held
	part        int           // how many of them one batch renews
	proven      int           // how many of them one batch has lately renewed in good time
	trip        time.Duration // how long an answer takes whatever it is: the quickest lately; 0: there was none

	Listening bool // somebody waits in the shared queue: notifications are wanted
	Watched   bool // somebody listens to events

	lingering []*Grant // released, and kept for the next caller; in order of their release
	lingerAt  Instant  // when they are looked at next; zero: there are none
	quietAsOf Instant  // Redis has said that nobody waits: when it was asked; zero: somebody does, or it is not known
	busyAsOf  Instant  // likewise, that somebody does
	again     []*Grant // to be granted anew
	againAt   Instant  // when they are; zero: there are none
	draining  bool     // no permit is kept any more
	slots     bool     // permits have slots, since a caller has wanted one
	replicas  int      // how many acknowledge what is granted or renewed: the most that a caller has wanted

	RenewAt     Instant // when held is renewed next; zero: nothing is held
	keepAt      Instant // when the next renewal sees to the lifetime of the permits' key; zero: the next one
	pollAt      Instant // when the waiters poll next; zero: nobody waits
	moreCallers bool    // Redis may have been told that more callers wait than have a place in the queue
	joinAt      Instant // when those who are not in the shared queue ask next; zero: nobody is
	releaseDue  Instant // when a release is sent next; zero: nothing is to be released
	refreshAt   Instant // when the queue's lifetime is seen to next
	promoteAt   Instant // when a promotion is asked for next; zero: Redis has nothing to promote
	promoteBy   Instant // until when one that fails is tried again; zero: none has failed

	// No later than the first of its kind; looked at again when it has come.
	EndAt  Instant // end of a trust window
	holdAt Instant // MaxHold

	failures     int     // batches in a row that failed
	failingSince Instant // when the first of them did
	Trouble      error   // why the latest one did
	Seen         occupancySeen

	sample        clockSample // of the latest answer: by it, notifications are trusted
	newestEnded   int64       // the newest token of a lease that has ended and is perhaps not released
	handoverUntil Instant     // until when a grant of this process is likely to be handed over inside it

	effects *Effects // nil: nothing is
}

// Effects are what a state leaves to its driver, to be carried out without the lock.
type Effects struct {
	Ends     []*Holding // whose contexts must end
	Warnings []Warning  // for the log
	Events   []Event
}

// effectsToCome returns the effects that the driver takes next, for one more to be added.
func (s *State) effectsToCome() *Effects {
	if s.effects == nil {
		s.effects = &Effects{}
	}
	return s.effects
}

// TakeEffects returns the effects since the last time.
func (s *State) TakeEffects() (left Effects) {
	if s.effects != nil {
		left, s.effects = *s.effects, nil
	}
	return left
}

// A Warning is for the log, once per semaphore and kind.
type Warning struct {
	Kind     WarningKind
	Capacity int           // Disagreement: what the other process declares
	TTL      time.Duration // likewise
}

// WarningKind is what a warning is about.
type WarningKind uint8

const (
	Muted        WarningKind = iota // notifications are not permitted
	Disagreement                    // another process declares another capacity or TTL
	NoSlots                         // another process does not set Slots
)

func (s *State) warn(n Warning) {
	effects := s.effectsToCome()
	effects.Warnings = append(effects.Warnings, n)
}

// New makes the state of a semaphore. pace, from 0.9 to 1, keeps the renewals of processes apart; newID makes an id for so
// many permits, and random returns a number in [0, 1).
func New(cfg *Config, pace float64, newID func(weight int, label string) string, random func() float64) State {
	return State{
		Config:     cfg,
		Window:     cfg.TTL - cfg.Margin,
		longestTTL: cfg.TTL,
		pace:       pace,
		part:       firstPart,
		newID:      newID,
		slots:      cfg.Slots,
		replicas:   cfg.MinReplicas,

		moreCallers: true, // by a state before this one
		random:      random,
	}
}

// Reconfigure has the state go by another Config from now on: what is granted already keeps its window, and what waits is
// asked for anew, because there may be more room.
//
// A longer TTL is in force when an acquire has brought it to Redis. Only then is what is held renewed by it: after a step
// back of the server's clock, others take from a permit what lies further ahead than the longest TTL that Redis knows of.
func (s *State) Reconfigure(now Instant, cfg *Config) {
	s.longestTTL, s.wanted = max(s.longestTTL, cfg.TTL), nil
	if cfg.TTL > s.Config.TTL && !s.Idle() {
		s.wanted, s.wantedAt, s.refreshAt = cfg, now, now
		inForce := *cfg
		inForce.TTL, inForce.Margin = s.Config.TTL, s.Config.Margin
		inForce.RetryInterval = min(cfg.RetryInterval, inForce.TTL/3)
		cfg = &inForce
	}
	s.goBy(cfg)
	s.Require(cfg)
	s.Seen.Capacity = cfg.Capacity // an operator's, if there is one, comes with the next answer
	if s.Waiting.Len > 0 {
		s.join(now)
	}
	if len(s.held) > 0 {
		s.RenewAt = earlier(s.RenewAt, now.Add(s.third()))
	}
}

func (s *State) goBy(cfg *Config) {
	if len(s.held) == 0 {
		s.leastTTL = 0
	} else if cfg.TTL > s.Config.TTL && s.leastTTL == 0 {
		s.leastTTL = s.Config.TTL
	}
	s.Config, s.Window = cfg, cfg.TTL-cfg.Margin
}

// Require has all grants and renewals from now on do what cfg asks for, an older handle's too: have slots, and be
// acknowledged by replicas.
func (s *State) Require(cfg *Config) {
	s.slots, s.replicas = s.slots || cfg.Slots, max(s.replicas, cfg.MinReplicas)
}

// declared records that an acquire which was sent then has brought a TTL to Redis. What is held is renewed by a longer one
// at once: its windows are still short.
func (s *State) declared(now, sent Instant, ttl time.Duration) {
	if s.wanted != nil && ttl >= s.wanted.TTL && sent.Mono >= s.wantedAt.Mono {
		s.goBy(s.wanted)
		s.wanted = nil
		s.RenewNow(now)
	}
}

// declaredTTL is what an acquire says.
func (s *State) declaredTTL() time.Duration {
	if s.wanted != nil {
		return s.wanted.TTL
	}
	return s.Config.TTL
}

// Close ends everything at once; nothing is given back.
func (s *State) Close(now Instant) {
	s.Fail(now, ReasonClosed)
	for _, g := range s.lingering { // Drain was called before: there are none
		s.drop(g)
		g.State = gone
	}
	s.lingering, s.lingerAt, s.again, s.againAt = nil, Instant{}, nil, Instant{}
	for len(s.held) > 0 {
		s.endLease(now, s.held[0].Holding, ended, ReasonClosed)
	}
	for _, g := range s.releasing {
		if g.Holding != nil {
			s.confirm(g.Holding, ReasonClosed)
		}
		g.State = gone
	}
	s.releasing, s.releaseDue = nil, Instant{}
	s.Batch, s.AtTransport, s.promoteAt = nil, false, Instant{}
}

// Tick does what the time demands. It may be called at any time, and every reply calls it first, so
// that nothing that has ended is ever extended.
func (s *State) Tick(now Instant) {
	if s.Batch != nil && now.Reached(s.Batch.giveUp) {
		s.giveUp(now)
	}
	if Due(now, s.EndAt) {
		s.endWindows(now)
	}
	if Due(now, s.holdAt) {
		s.endHolds(now)
	}
	for Due(now, s.endings.first()) {
		w := s.endings.list[0]
		s.Leave(now, w, s.waitedInVain(now, w))
	}
	if Due(now, s.lingerAt) {
		s.lookAtLingering(now)
	}
	if Due(now, s.releaseDue) {
		s.dropExpired(now)
	}
}

// Fail ends the wait of everybody who waits.
func (s *State) Fail(now Instant, why *Reason) {
	for _, l := range []*waitlist{&s.Waiting, &s.trying} {
		for l.first != nil {
			s.Leave(now, l.first, why)
		}
	}
}

// Shorten makes every window shorter by a jump of the server's clock, and has all renewed at once. The places of
// waiters are forgotten: they were counted by the clock before.
func (s *State) Shorten(now Instant, by time.Duration) {
	s.sample = clockSample{}
	for w := s.Waiting.first; w != nil && !w.requestedAt.IsZero(); w = w.next {
		w.place, w.requestedAt = 0, Instant{} // by another clock
	}
	for _, g := range s.held {
		g.Until.set(g.Until.End().Add(-by))
	}
	if len(s.held) > 0 {
		s.EndAt, s.RenewAt = now, now
	}
	s.Tick(now)
}

// Idle reports whether nobody waits, nothing is held, to be released or under way.
func (s *State) Idle() bool {
	return s.Waiting.Len == 0 && s.trying.Len == 0 && len(s.held) == 0 && len(s.releasing) == 0 &&
		s.Batch == nil && !s.AtTransport && s.promoteAt.IsZero()
}

// Next is when the state wants to be called at the latest, the ends of windows left aside: they have a
// timer of their own.
func (s *State) Next() Instant {
	at := earlier(earlier(s.holdAt, s.lingerAt), s.endings.first())
	switch {
	case s.Batch != nil:
		return earlier(at, s.Batch.giveUp)
	case s.AtTransport:
		return at
	default:
		return earlier(earlier(at, s.RenewAt), earlier(earlier(s.pollAt, s.joinAt), earlier(earlier(s.releaseDue, s.promoteAt), s.againAt)))
	}
}

// reschedule drops the times of what is no longer there, and finds when the next release is due.
func (s *State) reschedule() {
	if s.Waiting.Len == 0 && s.trying.Len == 0 {
		s.pollAt, s.joinAt = Instant{}, Instant{}
	}
	s.releaseDue = s.firstRelease()
}
