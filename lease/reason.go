package lease

import (
	"errors"
	"time"
)

// A reason is why a lease ended, a wait was in vain, or a release was not confirmed. The public errors are made from
// it where they are returned.
type reason struct {
	kind    reasonKind
	trouble error // what the latest attempt met; nil: nothing

	capacity, held, waiting int           // noRoom, tooHeavy: what Redis said last
	retryAfter              time.Duration // noRoom: when it is worth asking again
}

type reasonKind uint8

const (
	expired     reasonKind = iota // no renewal succeeded before the trust window ended
	removed                       // Redis no longer has the permit
	revoked                       // an operator took it away
	heldTooLong                   // for longer than MaxHold
	abandoned                     // nobody can reach the lease any more
	closed                        // the manager was closed
	unanswered                    // Redis did not answer, or refused
	noRoom                        // MaxWait or MaxAttempts is used up
	tooHeavy                      // for the capacity in force
	cancelled                     // by the caller
)

var (
	reasonClosed    = &reason{kind: closed}
	reasonAbandoned = &reason{kind: abandoned}
	reasonCancelled = &reason{kind: cancelled}
)

// errNoReply is what an attempt met that was given up.
var errNoReply = errors.New("no reply in time")

var noReply = failure{err: errNoReply, silent: true}
