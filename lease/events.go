package lease

import (
	"sync"
	"time"

	"github.com/eqworks/passbuddy/internal/protocol"
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

// A notifier calls the functions, so that nothing else waits for them. Safe for concurrent use.
type notifier struct {
	events *Events

	mu        sync.Mutex
	pending   []namedEvent
	notifying bool
}

func (t *notifier) add(name string, events []protocol.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range events {
		t.pending = append(t.pending, namedEvent{name, e})
	}
	if !t.notifying {
		t.notifying = true
		go t.run()
	}
}

func (t *notifier) run() {
	for {
		t.mu.Lock()
		now := t.pending
		t.pending = nil
		t.notifying = len(now) > 0
		t.mu.Unlock()
		if len(now) == 0 {
			return
		}
		for _, e := range now {
			t.events.tell(e)
		}
	}
}

// A namedEvent is an event with the name of its semaphore, on its way to the functions.
type namedEvent struct {
	name  string
	event protocol.Event
}

// of returns the function for a kind of event, nil if there is none.
func (e *Events) of(kind protocol.EventKind) func(Event) {
	return [...]func(Event){
		protocol.EventWaiting: e.Waiting, protocol.EventAcquired: e.Acquired, protocol.EventHandedOver: e.HandedOver, protocol.EventRenewed: e.Renewed,
		protocol.EventRenewalFailed: e.RenewalFailed, protocol.EventLost: e.Lost, protocol.EventReleased: e.Released, protocol.EventDisagreement: e.Disagreement,
	}[kind]
}

// any reports whether somebody listens to anything.
func (e *Events) any() bool {
	for kind := protocol.EventWaiting; kind <= protocol.EventDisagreement; kind++ {
		if e.of(kind) != nil {
			return true
		}
	}
	return false
}

// tell calls the function for an event, if there is one.
func (e *Events) tell(told namedEvent) {
	t := told.event
	f := e.of(t.Kind)
	if f == nil {
		return
	}
	ev := Event{
		Name: told.name, ID: t.ID, Token: t.Token, Weight: t.Weight, Waited: t.Waited, Held: t.Held, Leases: t.Leases,
		Slack: t.Slack, Err: public(t.Err), Capacity: t.Capacity, TTL: t.TTL,
	}
	if t.Lost != nil {
		ev.Err = t.Lost.Holder.(*hold).errorOf(t.Lost.Ending)
	}
	f(ev)
}
