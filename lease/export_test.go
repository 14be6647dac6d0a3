package lease

import "time"

// SetQuiet changes for how long m's subscription outlasts the last waiter, and returns what it was. It comes before
// the first use of m.
func SetQuiet(m *Manager, d time.Duration) (was time.Duration) {
	was, m.subscriber.Quiet = m.subscriber.Quiet, d
	return was
}

// RecordsForTracers reports whether anything is recorded of l, or of its semaphore, that only tracers want.
func RecordsForTracers(l *Lease) bool {
	d := l.hold.driver
	d.mu.Lock()
	defer d.mu.Unlock()
	l.hold.mu.Lock()
	defer l.hold.mu.Unlock()
	return l.hold.trace != nil || d.state.Watched
}
