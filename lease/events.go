package lease

import (
	"sync"
	"time"
)

// Events are told what happens to the semaphores of a manager: for metrics, traces and logs of one's own.
// Each function may be nil; what is nil costs nothing. They are called after the fact, one at a time and in
// order, in a goroutine of their own: nothing waits for them, Close neither, and they may call whatever the package
// offers. What a slow one has not been told yet is kept in memory. They must not panic.
type Events struct {
	Waiting       func(Event) // a caller has to wait
	Acquired      func(Event) // a lease begins
	HandedOver    func(Event) // its permit came from another caller of this process, without Redis; before Acquired
	Renewed       func(Event) // the leases of a semaphore were renewed together
	RenewalFailed func(Event) // an attempt to do so failed; it is repeated until the trust window ends
	Lost          func(Event) // a lease ended before its holder released it
	Released      func(Event) // a holder gave its permit back
	Disagreement  func(Event) // another process declares another capacity or TTL
}

// An Event says what happened. Fields that an event has nothing to say of are zero.
type Event struct {
	Name   string        // of the semaphore
	ID     string        // Acquired, HandedOver, Lost, Released: of the permit
	Token  int64         // likewise
	Weight int           // Waiting, Acquired, HandedOver, Lost, Released
	Waited time.Duration // Acquired: since Acquire was called
	Held   time.Duration // Lost, Released: since the lease began
	Leases int           // Renewed, RenewalFailed: how many
	Slack  time.Duration // Renewed: what was left of the shortest of their trust windows
	Err    error         // RenewalFailed: what the client said; Lost: the reason

	Capacity int           // Disagreement: what the other process declares
	TTL      time.Duration // likewise
}

type eventKind uint8

const (
	eventWaiting eventKind = iota
	eventAcquired
	eventHandedOver
	eventRenewed
	eventRenewalFailed
	eventLost
	eventReleased
	eventDisagreement
)

// A teller calls the functions, so that nothing else waits for them. Safe for concurrent use.
type teller struct {
	events *Events

	mu      sync.Mutex
	pending []deskEvent
	telling bool
}

func (t *teller) add(events []deskEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pending = append(t.pending, events...)
	if !t.telling {
		t.telling = true
		go t.run()
	}
}

func (t *teller) run() {
	for {
		t.mu.Lock()
		now := t.pending
		t.pending = nil
		t.telling = len(now) > 0
		t.mu.Unlock()
		if len(now) == 0 {
			return
		}
		for _, e := range now {
			t.events.tell(e)
		}
	}
}

// A deskEvent waits for the desk's lock to be let go.
type deskEvent struct {
	kind eventKind
	hold *holding // Lost: of the lease
	Event
}

// of returns the function for a kind of event, nil if there is none.
func (e *Events) of(kind eventKind) func(Event) {
	return [...]func(Event){
		eventWaiting: e.Waiting, eventAcquired: e.Acquired, eventHandedOver: e.HandedOver, eventRenewed: e.Renewed,
		eventRenewalFailed: e.RenewalFailed, eventLost: e.Lost, eventReleased: e.Released, eventDisagreement: e.Disagreement,
	}[kind]
}

// any reports whether somebody listens to anything.
func (e *Events) any() bool {
	for kind := eventWaiting; kind <= eventDisagreement; kind++ {
		if e.of(kind) != nil {
			return true
		}
	}
	return false
}

// tell calls the function for an event, if there is one.
func (e *Events) tell(ev deskEvent) {
	if f := e.of(ev.kind); f != nil {
		if ev.hold != nil {
			ev.Err = ev.hold.holder.(*hold).errorOf(ev.hold.ending)
		}
		f(ev.Event)
	}
}

// happened notes an event, where somebody listens. h is the lease that it is about, or nil.
func (d *desk) happened(now instant, kind eventKind, h *holding, ev Event) {
	if !d.watched {
		return
	}
	ev.Name = d.cfg.Name
	if h != nil {
		ev.ID, ev.Token, ev.Weight = h.grant.id, h.token, int(h.grant.weight)
		if kind == eventLost || kind == eventReleased {
			ev.Held = now.mono - h.began
		}
	}
	if kind != eventLost {
		h = nil
	}
	left := d.after()
	left.events = append(left.events, deskEvent{kind, h, ev})
}
