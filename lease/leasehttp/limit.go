package leasehttp

import (
	"net/http"

	"github.com/eqworks/passbuddy/lease"
)

// Limit returns a middleware that gives each request a permit of s. The package documentation says what the
// handler sees, and what a request without a permit gets.
//
// A nil semaphore, a nil handler and options that cannot work are a panic with a *lease.OptionError. The
// middleware is safe for concurrent use.
func Limit(s *lease.Semaphore, opts Options) func(http.Handler) http.Handler {
	if s == nil {
		refuseOption("s", "nil", "pass the semaphore")
	}
	return LimitBy(func(*http.Request) (*lease.Semaphore, error) { return s, nil }, opts)
}

// LimitBy is Limit with the semaphore that pick chooses for each request, one per tenant for example. A nil
// semaphore lets the request through without a permit. An error of pick is answered with 500; see
// Options.OnError for other answers.
//
// A nil pick, a nil handler and options that cannot work are a panic with a *lease.OptionError. The middleware
// is safe for concurrent use; pick must be.
func LimitBy(pick func(*http.Request) (*lease.Semaphore, error), opts Options) func(http.Handler) http.Handler {
	if pick == nil {
		refuseOption("pick", "nil", "pass the function that chooses the semaphore")
	}
	opts = opts.complete()
	trouble := &troubleLog{}
	return opts.around(func(w http.ResponseWriter, r *http.Request, next http.Handler) error {
		s, err := pick(r)
		if err != nil {
			return &pickError{err}
		}
		if s == nil {
			next.ServeHTTP(w, r)
			return nil
		}
		l, err := s.Acquire(r.Context(), lease.MaxWait(opts.maxWait(s)))
		if err != nil {
			trouble.note(s, err)
			return err
		}
		defer l.ReleaseAsync()
		return serve(w, r, l.Context(), next)
	})
}

// Share returns a middleware around p, which all requests of this process share. With AcquireOnStart, each
// request is a user of p while its handler runs, and its context is that of Permit.Use; otherwise the handler
// uses p when it needs to. Without KeepOnEnd each request's end releases p: it goes back when the last user is
// done, and requests that come meanwhile wait for that.
//
// A nil permit, a nil handler and options that cannot work are a panic with a *lease.OptionError. The middleware
// is safe for concurrent use.
func Share(p *lease.Permit, opts ShareOptions) func(http.Handler) http.Handler {
	if p == nil {
		refuseOption("p", "nil", "pass the permit to share")
	}
	opts.Options = opts.complete()
	maxWait := opts.maxWait(p.Semaphore())
	trouble := &troubleLog{}
	return opts.around(func(w http.ResponseWriter, r *http.Request, next http.Handler) error {
		if !opts.KeepOnEnd {
			defer p.ReleaseAsync()
		}
		if !opts.AcquireOnStart {
			next.ServeHTTP(w, r)
			return nil
		}
		ctx, done, err := p.UseWithin(r.Context(), maxWait)
		if err != nil {
			trouble.note(p.Semaphore(), err)
			return err
		}
		defer done()
		return serve(w, r, ctx, next)
	})
}
