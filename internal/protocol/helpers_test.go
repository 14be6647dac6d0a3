package protocol

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

const testTTL = 12 * time.Second // window 11.4 s, attempts of 1.5 s

// A stateTest is a state under test. The test itself fills in what Redis answers: see run and fail.
type stateTest struct {
	*testing.T
	State
	ids int
}

func newStateTest(t *testing.T, capacity int) *stateTest {
	cfg := configOf(capacity, testTTL)
	s := &stateTest{T: t}
	s.State = New(&cfg, 1, func(weight int, _ string) string { s.ids++; return idOf(s.ids, weight) }, func() float64 { return 0 })
	s.Needed = time.Millisecond // the server has answered before
	return s
}

// configOf returns a configuration with the defaults.
func configOf(capacity int, ttl time.Duration) Config {
	return Config{
		Capacity: capacity, TTL: ttl, Margin: max(ttl/20, 5*time.Millisecond), RetryInterval: min(500*time.Millisecond, ttl/3),
		Handover: 5 * time.Millisecond,
	}
}

// idOf makes an id in the form of a manager's.
func idOf(n, weight int) string {
	id := fmt.Sprintf("%036d@me~1", n)
	if weight > 1 {
		id += fmt.Sprintf("#%d", weight)
	}
	return id
}

// at is the time d after the begin of the test. Both clocks agree.
func at(d time.Duration) Instant { return Instant{Mono: d + 1, Wall: 1000*time.Hour + d} }

// serverAt is what the server's clock shows at now: it is a year ahead of the test's.
func serverAt(now Instant) int64 { return int64((now.Mono - 1 + 365*24*time.Hour) / time.Microsecond) }

// expiryAt is the expiry that a script gives when it runs at now.
func expiryAt(now Instant) int64 { return (serverAt(now)+999)/1000 + testTTL.Milliseconds() }

// reachable is a holder of a lease that is never garbage-collected.
type reachable struct{}

func (reachable) Orphaned() bool { return false }

// waiter asks for one permit.
func (s *stateTest) waiter(now Instant) *Waiter {
	w := &Waiter{Weight: 1, Done: make(chan struct{}), Holding: &Holding{Holder: reachable{}}}
	s.Ask(now, w)
	return w
}

// heavy asks for weight permits.
func (s *stateTest) heavy(now Instant, weight int) *Waiter {
	w := &Waiter{Weight: weight, Done: make(chan struct{}), Holding: &Holding{Holder: reachable{}}}
	s.Ask(now, w)
	return w
}

// mustDepart returns the batch that the state sends, which has one call of each verb.
func (s *stateTest) mustDepart(now Instant, verbs ...Verb) *Batch {
	s.Helper()
	batch := s.Depart(now, Reading{})
	if batch == nil {
		s.Fatalf("nothing was sent; want %v", verbs)
	}
	var got []Verb
	for _, c := range batch.Calls {
		got = append(got, c.Verb)
	}
	if fmt.Sprint(got) != fmt.Sprint(verbs) {
		s.Fatalf("sent %v, want %v", got, verbs)
	}
	return batch
}

func (s *stateTest) mustNotDepart(now Instant) {
	s.Helper()
	if batch := s.Depart(now, Reading{}); batch != nil {
		s.Fatalf("sent %v, want nothing", batch.Calls)
	}
}

// run fills in the answers of a server that executes batch at ran: the first granted requests get a permit, the others
// are refused.
func run(batch *Batch, ran Instant, granted int) {
	for i := range batch.Calls {
		c := &batch.Calls[i]
		switch c.Verb {
		case Release:
			c.Removed = len(c.Grants)
		case Renew:
			c.Server, c.Expiry = serverAt(ran), expiryAt(ran)
		case Acquire:
			c.Server, c.Answers = serverAt(ran), make([]Answer, len(c.Grants))
			for j := range c.Answers {
				if j < granted {
					c.Answers[j] = Answer{expiryAt(ran), serverAt(ran) + int64(j)}
				}
			}
			if refused := len(c.Grants) - granted; refused > 0 {
				c.Occupancy = &Occupancy{Capacity: 1, Held: 1, Waiting: refused, First: expiryAt(ran)}
			}
		}
	}
}

// fail has no call of batch bring an answer.
func fail(batch *Batch, err error) {
	for i := range batch.Calls {
		batch.Calls[i].Failure = Failure{Err: err}
	}
}

var errNet = errors.New("connection reset")

func (s *stateTest) mustBeServed(w *Waiter) *Grant {
	s.Helper()
	select {
	case <-w.Done:
	default:
		s.Fatal("the waiter still waits")
	}
	if w.Failed != nil {
		s.Fatalf("the waiter failed: %+v", w.Failed)
	}
	return w.Holding.Grant
}

func (s *stateTest) mustWait(w *Waiter) {
	s.Helper()
	select {
	case <-w.Done:
		s.Fatalf("the waiter does not wait any more: %+v", w.Failed)
	default:
	}
}

func (s *stateTest) mustHaveFailed(w *Waiter, want reasonKind, trouble error) {
	s.Helper()
	select {
	case <-w.Done:
	default:
		s.Fatal("the waiter still waits")
	}
	if r := w.Failed; r == nil || r.Kind != want || !errors.Is(r.Trouble, trouble) {
		s.Fatalf("the waiter failed with %+v, want kind %d and %v", r, want, trouble)
	}
}

// acquired acquires a permit in no time.
func (s *stateTest) acquired(now Instant) *Grant {
	s.Helper()
	w := s.waiter(now)
	batch := s.mustDepart(now, Acquire)
	run(batch, now, 1)
	s.Arrive(now, batch)
	return s.mustBeServed(w)
}
