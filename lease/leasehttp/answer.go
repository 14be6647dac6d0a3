package leasehttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// around makes a middleware of a function that runs the handler, or returns why it did not.
func (o Options) around(serve func(http.ResponseWriter, *http.Request, http.Handler) error) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		if next == nil {
			refuseOption("next", "nil", "pass the handler to run")
		}
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if err := serve(w, r, next); err != nil {
				o.OnError(w, r, err, next)
			}
		})
	}
}

// serve runs the handler, unless the request's context has ended while the permit came: then it returns why.
func serve(w http.ResponseWriter, r *http.Request, ctx context.Context, next http.Handler) error {
	if err := r.Context().Err(); err != nil {
		return fmt.Errorf("leasehttp: the request ended before it had its permit: %w", err)
	}
	next.ServeHTTP(w, r.WithContext(ctx))
	return nil
}

// refuse is the standard answer. It does not tell a client what the error is.
func (o Options) refuse(w http.ResponseWriter, _ *http.Request, err error, _ http.Handler) {
	var full *lease.CapacityError
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

func (e *pickError) Error() string { return fmt.Sprintf("leasehttp: pick a semaphore: %v", e.err) }
func (e *pickError) Unwrap() error { return e.err }

// A troubleLog logs trouble with Redis, once in each troublePeriod: the client does not learn of it, and
// requests that are refused may be many. The zero value is ready to use. Safe for concurrent use.
type troubleLog struct {
	mu   sync.Mutex
	last time.Time // zero: nothing was logged
}

const troublePeriod = time.Hour

// note logs err with the logger of s, if it is trouble with Redis and none was logged for a while.
func (t *troubleLog) note(s *lease.Semaphore, err error) {
	var trouble *lease.RedisError
	if errors.As(err, &trouble) && t.isDue(time.Now()) {
		s.Logger().Warn("lease: requests are refused: no permit from Redis", "error", err)
	}
}

func (t *troubleLog) isDue(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.last.IsZero() && now.Sub(t.last) < troublePeriod {
		return false
	}
	t.last = now
	return true
}
