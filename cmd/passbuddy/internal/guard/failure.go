package guard

import (
	"context"
	"errors"
	"strings"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
)

// FailureOf says how a run ends that could not begin.
func FailureOf(err error) Failure {
	var (
		usage    usageError
		option   *lease.OptionError
		deadlock *lease.DeadlockError
		heavy    *lease.CapacityError
		differs  *lease.DisagreementError
		fromRed  *lease.RedisError
	)
	switch {
	case errors.Is(err, lease.ErrAtCapacity):
		return Failure{ExitNoPermit, "no_permit", err.Error()}
	case errors.As(err, &usage), errors.As(err, &option), errors.As(err, &deadlock), errors.As(err, &heavy), errors.As(err, &differs):
		return Failure{ExitUsage, "usage", err.Error()}
	case isRefused(err):
		return Failure{ExitRefused, "refused", err.Error()}
	case errors.As(err, &fromRed), errors.Is(err, context.DeadlineExceeded):
		return Failure{ExitUnreachable, "unreachable", err.Error()}
	}
	return Failure{ExitInternal, "internal", err.Error()}
}

// isRefused reports whether the server refuses the user.
func isRefused(err error) bool {
	if redis.IsAuthError(err) || redis.IsPermissionError(err) {
		return true
	}
	for _, prefix := range []string{"NOAUTH", "WRONGPASS", "NOPERM", "ERR ACL failure"} {
		if strings.Contains(err.Error(), prefix) {
			return true
		}
	}
	return false
}

type usageError struct{ text string }

func (e usageError) Error() string { return e.text }
