package lease

import "time"

// SetQuiet changes for how long m's subscription outlasts the last waiter. It comes before the first use of m.
func SetQuiet(m *Manager, d time.Duration) { m.inbox.quiet = d }
