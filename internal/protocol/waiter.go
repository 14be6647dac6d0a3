package protocol

import (
	"cmp"
	"slices"
	"time"
)

// A Waiter is one call of Acquire that has not returned.
type Waiter struct {
	// immutable
	Holding     *Holding      // of the lease to be, filled in when a permit comes
	Weight      int           // permits that it asks for
	Label       string        // of its permit
	Capacity    int           // that its caller declares; 0: what the process does
	Strict      bool          // it fails while another process declares other limits
	Once        bool          // one attempt, whatever the time
	Slots       bool          // its permits have slots
	MinReplicas int           // how many replicas must have acknowledged its permit
	Deadline    Instant       // MaxWait; zero: none
	MaxAttempts int           // 0: no limit
	Own         int           // permits that its caller holds already
	Done        chan struct{} // closed when the wait is over

	// the state's
	prev, next  *Waiter
	ending      int // its place in the state's endings, from 1; 0: none
	inWaitlist  bool
	answered    bool    // Redis has refused it, at least once
	since       Instant // its arrival: no two of one list have the same microsecond
	requestedAt Instant // when its first request was sent; zero: there was none
	place       int64   // in the queue, µs of the server's clock: at the latest; 0: it has none
	grant       *Grant  // under which id it asks
	attempts    int     // refusals
	silent      int     // attempts given up before the first answer
	Trouble     error   // why its latest attempt failed; nil when Redis answered it
	Failed      *Reason // why there is no lease; valid when Done is closed
	Queued      Instant // since when it has been known that it has to wait; zero: it is not
	Place       int     // in the line then, from 1, as far as this process knew
}

// A waitlist is a queue from whose middle waiters can leave in constant time.
type waitlist struct {
	first, last *Waiter
	Len         int
	weight      int // of all of them
	counting    int // how many have MaxAttempts
	capacities  []capacityCount
}

// A capacityCount is how many waiters declare a capacity themselves.
type capacityCount struct{ capacity, waiters int }

// declare counts a waiter in, or out.
func (l *waitlist) declare(capacity, by int) {
	i := slices.IndexFunc(l.capacities, func(c capacityCount) bool { return c.capacity == capacity })
	if i < 0 {
		l.capacities = append(l.capacities, capacityCount{capacity, by})
		return
	}
	if l.capacities[i].waiters += by; l.capacities[i].waiters == 0 {
		l.capacities = slices.Delete(l.capacities, i, i+1)
	}
}

// widest is the largest capacity that a waiter goes by; those that declare none go by the process's.
func (l *waitlist) widest(process int) (most int) {
	for _, c := range l.capacities {
		most = max(most, cmp.Or(c.capacity, process))
	}
	return most
}

// push puts w at the end.
func (l *waitlist) push(now Instant, w *Waiter) {
	w.inWaitlist = true
	w.since = now
	w.place, w.requestedAt = 0, Instant{} // of an earlier arrival: its lease was over before its caller saw it
	if l.last != nil {
		if least := l.last.since.Add(time.Microsecond); now.Mono < least.Mono {
			w.since = least
		}
	}
	l.weight += w.Weight
	l.declare(w.Capacity, 1)
	if w.MaxAttempts > 0 {
		l.counting++
	}
	w.prev = l.last
	if l.last == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
	l.Len++
}

func (l *waitlist) remove(w *Waiter) {
	if w.prev == nil {
		l.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		l.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.inWaitlist = nil, nil, false
	l.Len--
	l.weight -= w.Weight
	l.declare(w.Capacity, -1)
	if w.MaxAttempts > 0 {
		l.counting--
	}
}

// stands records that w has a place in the queue, and the latest that it can be. An earlier request of w may have given
// it the place: one that was not answered, and that ran late, but hardly later than the one that was answered.
func (w *Waiter) stands(server, place int64) {
	if w.place == 0 {
		place = max(place, server-(w.requestedAt.Mono-w.since.Mono).Microseconds())
	}
	w.place = max(w.place, place)
}
