// Package leader elects one process of a fleet: the one whose lease on a permit lives. The others wait in the semaphore's
// queue, and the first of them follows.
//
//	one, err := m.Semaphore(lease.Config{Name: "scheduler-leader", Capacity: 1})
//	…
//	err = leader.Run(ctx, one, func(ctx context.Context) error {
//		token := lease.FromContext(ctx).Token() // larger than that of every leader before
//		return schedule(ctx, token)
//	}, leader.Options{})
//
// # What is guaranteed
//
// At most one process leads, within the limits that the README names, and for as long as all declare a capacity of 1 and no
// operator sets another: a leader's context ends before Redis gives the permit to another. What a leader has sent before that may arrive later, so pass the token along with each write, and have
// the store refuse a token that is smaller than one it has seen.
//
// # When somebody else leads
//
// When a leader resigns or stops, the next one leads after one round trip. When it crashes, or is cut off, the next one
// leads after the TTL. A shorter TTL makes that sooner, and makes shorter trouble end a term.
package leader

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/eqworks/passbuddy/internal/backoff"
	"github.com/eqworks/passbuddy/lease"
)

// Options change how Run campaigns. The zero value will do.
type Options struct {
	// Term is how long a term lasts at most; then another process that waits may lead. 0: the Config's MaxHold, or no bound.
	Term time.Duration
	// Label says what the permit is for, as lease.Label does.
	Label string
	// Elected is called before lead is, in its goroutine. It should return soon.
	Elected func(l *lease.Lease)
	// Ended is called after a term, when lead has returned or panicked, and before the permit goes back. why is the reason: a
	// *lease.LostError, a *lease.HoldError after Term, or what lead returned when it gave the leadership up.
	Ended func(l *lease.Lease, why error)
	// Failed is called when an attempt to get the permit has failed: trouble with Redis, or a refusal because of MaxAttempts
	// or Strict. Run tries again after the delay. Without it the semaphore's
	// logger gets a warning, once in a minute.
	Failed func(err error, delay time.Duration)
}

// forever is for how long a candidate waits for its turn, whatever Config.MaxWait says.
const forever = 100 * 365 * 24 * time.Hour

// delays lie between attempts while Redis does not answer.
var delays = backoff.Policy{Min: 100 * time.Millisecond, Max: 5 * time.Second}

// Run waits until this process leads, and runs lead. When a term ends although lead has not given it up (the lease is lost,
// or the term is over), Run waits until lead has returned, and campaigns again. So lead must return when its context ends,
// and may be called many times.
//
// lead gives the leadership up by returning while its context lives: Run then returns what lead returned, nil too. When ctx ends, Run
// returns its cause after lead has returned. In each case the permit has gone back before Run returns, or goes back
// in the background while Redis does not answer.
//
// Run goes on through trouble with Redis, and while Config.MaxWait, MaxAttempts or Strict refuse it. It returns at once with
// what does not pass: lease.ErrClosed, lease.ErrDeadlock, and lease.ErrOption, which it also returns for a semaphore with
// a capacity other than 1. It may be called concurrently; then each call is a candidate of its own.
func Run(ctx context.Context, s *lease.Semaphore, lead func(ctx context.Context) error, o Options) error {
	switch {
	case s == nil:
		return &lease.OptionError{Option: "s", Value: "nil", Problem: "pass the semaphore whose permit the leader holds"}
	case lead == nil:
		return &lease.OptionError{Option: "lead", Value: "nil", Problem: "pass the function that the leader runs"}
	case s.Config().Capacity != 1:
		return &lease.OptionError{Option: "Capacity", Value: s.Config().Capacity, Problem: "must be 1: there is one leader"}
	}
	if o.Term < 0 {
		return &lease.OptionError{Option: "Options.Term", Value: o.Term, Problem: "must be positive, or 0 for the Config's MaxHold"}
	}
	c := candidate{s, lead, o, 0, time.Time{}}
	for {
		again, err := c.campaign(ctx)
		if !again {
			return err
		}
	}
}

// A candidate is one call of Run.
type candidate struct {
	semaphore *lease.Semaphore
	lead      func(ctx context.Context) error
	o         Options

	failures int       // in a row
	said     time.Time // when the last of them was logged
}

// campaign waits for the leadership, and leads for one term.
func (c *candidate) campaign(ctx context.Context) (again bool, err error) {
	opts := []lease.AcquireOption{lease.MaxWait(forever)}
	if c.o.Term != 0 {
		opts = append(opts, lease.MaxHold(c.o.Term))
	}
	if c.o.Label != "" {
		opts = append(opts, lease.Label(c.o.Label))
	}
	var ended error // why the term ended; nil: lead gave it up
	elected := false
	err = c.semaphore.Do(ctx, func(term context.Context) error {
		elected, c.failures = true, 0
		l := lease.FromContext(term)
		result := errPanicked
		defer func() {
			ended = l.Err()
			if c.o.Ended != nil {
				c.o.Ended(l, cmp.Or(ended, result))
			}
		}()
		if c.o.Elected != nil {
			c.o.Elected(l)
		}
		result = c.lead(term)
		return result
	}, opts...)
	switch {
	case elected && ended == nil:
		return false, err
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case elected:
		return true, nil
	case errors.Is(err, lease.ErrClosed), errors.Is(err, lease.ErrOption), errors.Is(err, lease.ErrDeadlock): // what does not pass
		return false, err
	}
	return c.pause(ctx, err)
}

// errPanicked is why a term has ended in which lead did not return.
var errPanicked = errors.New("leader: lead has panicked, or called runtime.Goexit")

// pause waits before the next attempt.
func (c *candidate) pause(ctx context.Context, failure error) (again bool, err error) {
	c.failures++
	delay := delays.Delay(c.failures, rand.Float64())
	switch now := time.Now(); {
	case c.o.Failed != nil:
		c.o.Failed(failure, delay)
	case now.Sub(c.said) > time.Minute:
		c.said = now
		c.semaphore.Logger().WarnContext(ctx, "leader: not elected; trying again", "semaphore", c.semaphore.Name(), "err", failure)
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true, nil
	case <-ctx.Done():
		return false, context.Cause(ctx)
	}
}
