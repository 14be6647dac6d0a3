package leasehttp

import (
	"cmp"
	"net/http"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// Options change what Limit and LimitBy do, and, as a part of ShareOptions, Share. The zero value works.
type Options struct {
	// MaxWait bounds how long a request waits for a permit; negative: one attempt. The Config's MaxWait by
	// default, or five seconds where that has no bound.
	MaxWait time.Duration
	// Status is what a request gets when no permit came within MaxWait: any from 400 to 599. 503 by default.
	Status int
	// OnError answers a request that gets no permit, in place of the standard answers: Status with a
	// Retry-After (lease.ErrAtCapacity), 500 (an error of pick), 503 for the rest: lease.ErrClosed, trouble with
	// Redis, and a request whose context ended while it waited (err matches the context's error). A client that
	// has gone away ends the context too, and hears nothing of the answer.
	//
	// It may run the handler all the same, without a permit: next.ServeHTTP(w, r). A limit that must not make the service
	// depend on Redis does so for a *lease.RedisError (it fails open).
	OnError func(w http.ResponseWriter, r *http.Request, err error, next http.Handler)
}

// ShareOptions change what Share does. The zero value works.
type ShareOptions struct {
	Options
	// AcquireOnStart takes the permit before the handler runs, with the request as its user. Without it the
	// handler calls Permit.Use or a bound function when it needs to.
	AcquireOnStart bool
	// KeepOnEnd keeps the permit when a request ends. Without it each request's end releases the Permit, so
	// that it goes back when the last user is done.
	KeepOnEnd bool
}

const defaultMaxWait = 5 * time.Second

// complete fills in the defaults. A middleware has no error to return: options that cannot work are a
// panic with a *lease.OptionError, when the server is set up.
func (o Options) complete() Options {
	o.Status = cmp.Or(o.Status, http.StatusServiceUnavailable)
	if o.Status < 400 || o.Status > 599 {
		refuseOption("leasehttp.Options.Status", o.Status, "must be from 400 to 599, such as 429 or 503")
	}
	if o.OnError == nil {
		o.OnError = o.refuse
	}
	return o
}

// maxWait is the bound on a request's wait.
func (o *Options) maxWait(s *lease.Semaphore) time.Duration {
	return cmp.Or(o.MaxWait, s.Config().MaxWait, defaultMaxWait)
}

func refuseOption(option string, value any, problem string) {
	panic(&lease.OptionError{Option: option, Value: value, Problem: problem})
}
