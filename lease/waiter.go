package lease

import "time"

// A waiter is one call of Acquire that has not returned.
type waiter struct {
	// immutable
	hold        *holding      // of the lease to be, filled in when a permit comes
	weight      int           // permits that it asks for
	deadline    instant       // MaxWait; zero: none
	maxAttempts int           // 0: no limit
	once        bool          // one attempt, whatever the time
	done        chan struct{} // closed when the wait is over

	// the desk's
	prev, next *waiter
	ending     int // its place in the desk's endings, from 1; 0: none
	inLine     bool
	since      instant // its arrival: no two of one line have the same microsecond
	asked      instant // when its first request was sent; zero: there was none
	place      int64   // in the shared queue, µs of the server's clock: at the latest; 0: it has none
	grant      *grant  // under which id it asks
	answered   bool    // Redis has refused it, at least once
	attempts   int     // refusals
	silent     int     // attempts given up before the first answer
	trouble    error   // why its latest attempt failed; nil when Redis answered it
	failed     *reason // why there is no lease; valid when done is closed
}

// A line is a queue from whose middle waiters can leave in constant time.
type line struct {
	first, last *waiter
	len         int
	weight      int // of all of them
}

// push puts w at the end.
func (l *line) push(now instant, w *waiter) {
	w.inLine = true
	w.since = now
	w.place, w.asked = 0, instant{} // of an earlier arrival: its lease was over before its caller saw it
	if l.last != nil {
		if least := l.last.since.add(time.Microsecond); now.mono < least.mono {
			w.since = least
		}
	}
	l.weight += w.weight
	w.prev = l.last
	if l.last == nil {
		l.first = w
	} else {
		l.last.next = w
	}
	l.last = w
	l.len++
}

func (l *line) remove(w *waiter) {
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
	w.prev, w.next, w.inLine = nil, nil, false
	l.len--
	l.weight -= w.weight
}

// stands says that w has a place in the shared queue. It may have come by it earlier, by a request that was not
// answered and was carried out later than it should: hardly later than the one that was answered.
func (w *waiter) stands(server, place int64) {
	if w.place == 0 {
		place = max(place, server-(w.asked.mono-w.since.mono).Microseconds())
	}
	w.place = max(w.place, place)
}
