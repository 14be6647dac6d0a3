package lease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// MiddlewareOptions change what the middlewares do. The zero value works.
type MiddlewareOptions struct {
	// MaxWait bounds how long a request waits for a permit; negative: one attempt. The Config's MaxWait by
	// default, or five seconds where that has no bound.
	MaxWait time.Duration
	// Status is what a request gets when no permit came within MaxWait: 503 or 429. 503 by default.
	Status int
	// Refuse answers a request that gets no permit, in place of the standard answers: Status with a
	// Retry-After (ErrAtCapacity), 500 (an error of pick), 503 for the rest: ErrClosed, trouble with Redis, and a
	// request whose context ended while it waited (err matches the context's error). A client that has gone away
	// ends the context too, and hears nothing of the answer.
	Refuse func(w http.ResponseWriter, r *http.Request, err error)

	// AcquireOnStart takes the permit before the handler runs, with the request as its user. Without it the
	// handler calls Permit.Use or a bound function when it needs to. Of Permit.Middleware only: the others
	// always acquire.
	AcquireOnStart bool
	// KeepOnEnd keeps the permit when a request ends. Without it each request's end calls Permit.Release,
	// so that the permit goes back when the last user is done. Of Permit.Middleware only: the others always
	// release.
	KeepOnEnd bool
}

const defaultRequestWait = 5 * time.Second

// complete fills in the defaults. A middleware has no error to return: options that cannot work are a
// panic with an *OptionError, when the server is set up.
func (o MiddlewareOptions) complete() MiddlewareOptions {
	o.Status = cmp.Or(o.Status, http.StatusServiceUnavailable)
	if o.Status != http.StatusServiceUnavailable && o.Status != http.StatusTooManyRequests {
		panic(&OptionError{"MiddlewareOptions.Status", o.Status, "must be 503 or 429"})
	}
	if o.Refuse == nil {
		o.Refuse = o.refuse
	}
	return o
}

// onlyForPermit refuses the options that a middleware with a permit for each request does not have.
func (o MiddlewareOptions) onlyForPermit() {
	for name, set := range map[string]bool{"AcquireOnStart": o.AcquireOnStart, "KeepOnEnd": o.KeepOnEnd} {
		if set {
			panic(&OptionError{"MiddlewareOptions." + name, true, "belongs to Permit.Middleware: here each request has a permit of its own"})
		}
	}
}

// maxWait is the bound on a request's wait.
func (o *MiddlewareOptions) maxWait(s *Semaphore) time.Duration {
	return cmp.Or(o.MaxWait, s.cfg.MaxWait, defaultRequestWait)
}

// Middleware returns a middleware that gives each request a permit of s. See the function Middleware.
func (s *Semaphore) Middleware(opts MiddlewareOptions) func(http.Handler) http.Handler {
	return Middleware(func(*http.Request) (*Semaphore, error) { return s, nil }, opts)
}

// Middleware returns a middleware that gives each request a permit of the semaphore that pick chooses,
// one per tenant for example. A nil semaphore lets the request through without a permit.
//
// A request waits for its permit, for MaxWait at most, and is then refused with a Retry-After; see
// MiddlewareOptions.Refuse for other answers. The handler's request carries the lease's context: it ends
// when the lease is lost, and when the client goes away. The permit goes back when the handler has
// returned, panicked or aborted: all that it wrote is then with the server. It is not held up by Redis for
// that. When the request's context ends while it waits (an outer timeout, a server that stops, a client that has
// gone away), the handler does not run, no permit is taken, and the answer is 503: to write none would be 200 OK.
//
// The handler gets the server's own ResponseWriter, so it can flush, hijack, and serve websockets; its
// permit is held for as long as the handler runs. What goes on after the handler has returned, such as a
// hijacked connection, needs a lease of its own.
//
// A nil pick, a nil handler and options that cannot work are a panic with an *OptionError. The middleware
// is safe for concurrent use; pick must be.
func Middleware(pick func(*http.Request) (*Semaphore, error), opts MiddlewareOptions) func(http.Handler) http.Handler {
	if pick == nil {
		panic(&OptionError{"pick", "nil", "pass the function that chooses the semaphore"})
	}
	opts.onlyForPermit()
	opts = opts.complete()
	return opts.around(func(w http.ResponseWriter, r *http.Request, next http.Handler) error {
		s, err := pick(r)
		if err != nil {
			return &pickError{err}
		}
		if s == nil {
			next.ServeHTTP(w, r)
			return nil
		}
		l, err := s.Acquire(r.Context(), MaxWait(opts.maxWait(s)))
		if err != nil {
			return s.manager.noted(err)
		}
		defer l.letGo()
		return opts.serve(w, r, l.Context(), next)
	})
}

// Middleware returns a middleware around p, which all requests of this process share. With
// AcquireOnStart, each request is a user of p while its handler runs, as in the function Middleware;
// otherwise the handler uses p when it needs to. Without KeepOnEnd each request's end releases p: it goes
// back when the last user is done, and requests that come meanwhile wait for that.
//
// A nil handler and options that cannot work are a panic with an *OptionError. The middleware is safe for
// concurrent use.
func (p *Permit) Middleware(opts MiddlewareOptions) func(http.Handler) http.Handler {
	opts = opts.complete()
	return opts.around(func(w http.ResponseWriter, r *http.Request, next http.Handler) error {
		if !opts.KeepOnEnd {
			defer p.releaseSoon()
		}
		if !opts.AcquireOnStart {
			next.ServeHTTP(w, r)
			return nil
		}
		maxWait := opts.maxWait(p.semaphore)
		ctx, done, err := p.use(r.Context(), &maxWait)
		if err != nil {
			return p.semaphore.manager.noted(err)
		}
		defer done()
		return opts.serve(w, r, ctx, next)
	})
}

// around makes a middleware of a function that runs the handler, or returns why it did not.
func (o MiddlewareOptions) around(serve func(http.ResponseWriter, *http.Request, http.Handler) error) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		if next == nil {
			panic(&OptionError{"next", "nil", "pass the handler to run"})
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := serve(w, r, next); err != nil {
				o.Refuse(w, r, err)
			}
		})
	}
}

// serve runs the handler, unless the request's context has ended while the permit came: then it returns why.
func (o *MiddlewareOptions) serve(w http.ResponseWriter, r *http.Request, ctx context.Context, next http.Handler) error {
	if err := r.Context().Err(); err != nil {
		return fmt.Errorf("lease: the request ended before it had its permit: %w", err)
	}
	next.ServeHTTP(w, r.WithContext(ctx))
	return nil
}

// noted logs trouble with Redis, once: the client is not told.
func (m *Manager) noted(err error) error {
	var trouble *RedisError
	if errors.As(err, &trouble) {
		m.warn("", "requests", "lease: requests are refused: no permit from Redis", "error", err)
	}
	return err
}

// refuse is the standard answer. It tells a client nothing of what is behind it.
func (o MiddlewareOptions) refuse(w http.ResponseWriter, _ *http.Request, err error) {
	var full *CapacityError
	var bad *pickError
	switch {
	case errors.As(err, &full):
		seconds := max(1, (full.RetryAfter+time.Second-1)/time.Second)
		w.Header().Set("Retry-After", strconv.FormatInt(int64(seconds), 10))
		http.Error(w, "at capacity, try again later", o.Status)
	case errors.As(err, &bad):
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
	default:
		http.Error(w, http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable)
	}
}

// A pickError tells an error of pick from one of the acquire.
type pickError struct{ err error }

func (e *pickError) Error() string { return fmt.Sprintf("lease: pick a semaphore: %v", e.err) }
func (e *pickError) Unwrap() error { return e.err }
