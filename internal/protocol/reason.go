package protocol

import (
	"errors"
	"time"
)

// A Reason is why a lease ended, a wait was in vain, or a release was not confirmed. The public errors are made from
// it where they are returned.
type Reason struct {
	Kind    reasonKind
	Trouble error // what the latest attempt met; nil: nothing

	Capacity, Held, Waiting int           // NoRoom, TooHeavy: what Redis said last; Disagreed: the other's
	TTL, OwnTTL             time.Duration // Disagreed: the other's, and what was declared
	RetryAfter              time.Duration // NoRoom: when it is worth asking again
}

type reasonKind uint8

const (
	Expired     reasonKind = iota // no renewal succeeded before the trust window ended
	Removed                       // Redis no longer has the permit
	Revoked                       // an operator took it away
	HeldTooLong                   // for longer than MaxHold
	Abandoned                     // nobody can reach the lease any more
	Closed                        // the manager was closed
	Unanswered                    // Redis did not answer, or refused
	NoRoom                        // MaxWait or MaxAttempts is used up
	TooHeavy                      // for the capacity in force
	Deadlock                      // it waits for permits of its own caller
	Disagreed                     // it is strict, and another process declares other limits
	cancelled                     // by the caller
)

var (
	ReasonClosed    = &Reason{Kind: Closed}
	reasonAbandoned = &Reason{Kind: Abandoned}
	ReasonCancelled = &Reason{Kind: cancelled}
)

// ErrNoReply is the trouble of an attempt that was given up.
var ErrNoReply = errors.New("no reply in time")

var noReply = Failure{Err: ErrNoReply, Silent: true}
