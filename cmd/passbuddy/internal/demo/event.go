package demo

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// A Kind is what has happened in an Event.
type Kind int

// The kinds of events.
const (
	Told     Kind = iota // an explanation
	Scene                // what is shown next
	Waits                // somebody stands in the queue
	Got                  // a lease has begun
	Stopped              // a lease has ended before its work was done
	Refused              // no permit was free, and nobody waited
	Crashed              // a process was killed while it held a permit
	Stalled              // the way from a process to Redis was cut
	Healed               // and is open again
	Paused               // by an operator, as the following
	Resumed              //
	Revoked              //
	AllBack              // no permit is held while the semaphore is paused
	NewStart             // a process that was killed has begun again
)

// An Event is a line of the demo. Facts stand beside the words, for who checks them.
type Event struct {
	Number int // from 0
	At     time.Time
	Who    string // empty: the demo itself
	Text   string
	Kind   Kind

	Name    string    // of the semaphore
	Slot    int       // of the lease
	Token   int64     // of a lease that has begun
	Err     error     // why a lease has ended
	Expires time.Time // until when Redis keeps the permit of a process that was killed or told to stop
}

// Line is the event with its time since the demo began.
func (e Event) Line(began time.Time) string {
	if e.Who == "" {
		return fmt.Sprintf("%6.2f  %s", e.At.Sub(began).Seconds(), e.Text)
	}
	return fmt.Sprintf("%6.2f  %-9s %s", e.At.Sub(began).Seconds(), e.Who, e.Text)
}

// An eventLog is all events so far. It is safe for concurrent use.
type eventLog struct {
	mu     sync.Mutex
	events []Event
	more   chan struct{} // closed when there is one more, or no more will be
	ended  bool
}

func newEventLog() *eventLog { return &eventLog{more: make(chan struct{})} }

// tell adds an event, which happens now. After the end it is left out.
func (l *eventLog) tell(e Event) Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	e.Number, e.At = len(l.events), time.Now()
	if l.ended {
		return e
	}
	l.events = append(l.events, e)
	close(l.more)
	l.more = make(chan struct{})
	return e
}

// end says that no more will be told to who waits for it.
func (l *eventLog) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended = true
		close(l.more)
	}
}

// count is how many there are.
func (l *eventLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events)
}

// next waits for the event of that number, from 0. There is none when ctx ends, or the log does.
func (l *eventLog) next(ctx context.Context, number int) (Event, bool) {
	for {
		l.mu.Lock()
		events, more, ended := l.events, l.more, l.ended
		l.mu.Unlock()
		switch {
		case number < len(events):
			return events[number], true
		case ended:
			return Event{}, false
		}
		select {
		case <-more:
		case <-ctx.Done():
			return Event{}, false
		}
	}
}

// await waits for an event from that number on.
func (l *eventLog) await(ctx context.Context, from int, is func(Event) bool) (Event, bool) {
	for ; ; from++ {
		e, ok := l.next(ctx, from)
		if !ok || is(e) {
			return e, ok
		}
	}
}
