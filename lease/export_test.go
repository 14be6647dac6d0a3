package lease

import "time"

// SetQuiet changes for how long m's subscription outlasts the last waiter, and returns what it was. It comes before
// the first use of m.
func SetQuiet(m *Manager, d time.Duration) (was time.Duration) {
	was, m.subscriber.Quiet = m.subscriber.Quiet, d
	return was
}
