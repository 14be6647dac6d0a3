package protocol

import "time"

// A Config is what a semaphore's state goes by.
type Config struct {
	Capacity      int // declared; at least 1
	TTL           time.Duration
	Margin        time.Duration // how much earlier than Redis a permit is not trusted any more
	RetryInterval time.Duration // the longest time between two polls
	Handover      time.Duration // for how long a permit may pass from caller to caller; negative: never
	Slots         bool          // permits have slots
	MinReplicas   int           // how many replicas acknowledge a grant or a renewal; 0: none
	Linger        time.Duration // for how long a released permit may wait for the next caller; 0: not at all
}

// Attempt is how long one attempt may take: two renewals that hang fit into a window, and a pipeline that
// hangs holds up the others for no longer than that.
func (c *Config) Attempt() time.Duration { return min(c.TTL/8, maxAttempt) }

const maxAttempt = 2 * time.Second
