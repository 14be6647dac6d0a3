package telemetry

import (
	"errors"
	"os"

	"github.com/eqworks/passbuddy/internal/transport"
	"github.com/eqworks/passbuddy/lease"
)

// Outcomes are the values of the attribute Outcome, by lease.Outcome.
var Outcomes = [...]string{
	lease.OutcomeGranted: "granted", lease.OutcomeHandedOver: "handed_over", lease.OutcomeAtCapacity: "at_capacity",
	lease.OutcomeCanceled: "canceled", lease.OutcomeClosed: "closed", lease.OutcomeFailed: "failed", lease.OutcomeReused: "lingered",
}

// Ends are the values of the attribute End, by lease.EndReason.
var Ends = [...]string{
	lease.EndReleased: "released", lease.EndLost: "lost", lease.EndMaxHold: "max_hold", lease.EndClosed: "closed", lease.EndAbandoned: "abandoned",
}

// Losses are the values of the attribute Reason, by lease.LossReason.
var Losses = [...]string{lease.LossExpired: "expired", lease.LossRemoved: "gone", lease.LossRevoked: "revoked"}

// LossOf is why a lease was lost, for the attribute Reason. err is what LeaseEnd says.
func LossOf(err error) lease.LossReason {
	var lost *lease.LostError
	if errors.As(err, &lost) {
		return lost.Reason
	}
	return lease.LossExpired
}

// The values of the attribute ErrorType.
const (
	Timeout      = "timeout"      // no answer in time
	Unavailable  = "unavailable"  // no connection, or a server that will soon think otherwise
	Permission   = "permission"   // the user, its password, or what it may run
	Deadlock     = "deadlock"     // lease.ErrDeadlock
	Disagreement = "disagreement" // lease.ErrDisagreement
	OtherError   = "_OTHER"
)

// RedisErrorTypes are those that trouble with Redis may have.
var RedisErrorTypes = [...]string{Timeout, Unavailable, Permission, OtherError}

// TypeOf is the type of an error that the library returns, for the attribute ErrorType.
func TypeOf(err error) string {
	var replicas *lease.ReplicaError
	switch {
	case errors.Is(err, lease.ErrDeadlock):
		return Deadlock
	case errors.Is(err, lease.ErrDisagreement):
		return Disagreement
	case transport.IsDenied(err) || transport.IsLogin(err):
		return Permission
	case transport.IsTimeout(err) || errors.Is(err, os.ErrDeadlineExceeded):
		return Timeout
	case errors.As(err, &replicas) || transport.IsAway(err):
		return Unavailable
	}
	return OtherError
}

// IsReleaseFailure reports whether a release was not confirmed. A lease that was lost before it was released is not one,
// nor one that Close gave up.
func IsReleaseFailure(err error) bool {
	var failure *lease.RedisError
	return errors.As(err, &failure) && !errors.Is(err, lease.ErrLost)
}

// SlackOf is the share of the trust window that was left.
func SlackOf(r lease.Renewal) float64 {
	if r.Window <= 0 {
		return 0
	}
	return float64(r.Slack) / float64(r.Window)
}
