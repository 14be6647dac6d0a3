package lease

// A waiter is one call of Acquire that has not returned.
type waiter struct {
	// immutable
	hold        *hold         // the lease to be, filled in when a permit comes
	deadline    instant       // MaxWait; zero: none
	maxAttempts int           // 0: no limit
	once        bool          // one attempt, whatever the time
	done        chan struct{} // closed when the wait is over

	// the desk's
	prev, next *waiter
	inLine     bool
	grant      *grant // under which id it asks
	answered   bool   // Redis has refused it, at least once
	attempts   int    // refusals
	silent     int    // attempts given up before the first answer
	trouble    error  // why its latest attempt failed; nil when Redis answered it
	err        error  // why there is no lease; valid when done is closed
}

// A line is a queue from whose middle waiters can leave in constant time.
type line struct {
	first, last *waiter
	len         int
}

func (l *line) push(w *waiter) {
	w.inLine = true
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
}
