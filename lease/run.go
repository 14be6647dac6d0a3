package lease

import (
	"context"
	"errors"
	"fmt"
)

// run runs fn with the lease's context, and releases the permit when fn has returned, panicked or called
// runtime.Goexit. Semaphore.Do says what it returns.
func (l *Lease) run(fn func(context.Context) error) (err error) {
	s := l.hold.semaphore
	returned := false
	defer func() {
		lost := l.lostMeanwhile()
		back := l.Release()
		if lost == nil && errors.Is(back, ErrLost) {
			lost = back
		}
		if lost == nil && back != nil {
			s.manager.warn(s.cfg.Name, "release", "lease: a permit was not given back; its TTL frees it", "semaphore", s.cfg.Name, "error", back)
		}
		if returned {
			err = withLoss(err, lost)
		}
	}()
	err = fn(l.Context())
	returned = true
	return err
}

// lostMeanwhile returns why the lease ended without its holder's doing, nil if it did not.
func (l *Lease) lostMeanwhile() error {
	if reason := l.hold.over(); reason != ErrReleased {
		return reason
	}
	return nil
}

// withLoss adds the loss of the lease to the error of the work that was done under it.
func withLoss(err, lost error) error {
	switch {
	case lost == nil || errors.Is(err, lost):
		return err
	case err == nil:
		return lost
	default:
		return fmt.Errorf("%w (%w)", err, lost)
	}
}
