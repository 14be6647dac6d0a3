package leasegrpc

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/eqworks/passbuddy/lease"
)

// Options change what the interceptors do. The zero value works.
type Options struct {
	// MaxWait bounds how long a call waits for a permit; negative: one attempt. The Config's MaxWait by default, or five
	// seconds where that has no bound. The call's own deadline bounds it too.
	MaxWait time.Duration
	// OnError answers a call that gets no permit: what it returns is what the client gets, and nil runs the handler without
	// a permit. A limit that must not make the service depend on Redis returns nil for a *lease.RedisError (it fails open).
	// method is the full name, such as /package.Service/Method. StatusOf has the standard answers.
	OnError func(ctx context.Context, method string, err error) error
}

const (
	defaultMaxWait = 5 * time.Second
	retryOutage    = time.Second // when a client may try again while Redis is out of reach
	troublePeriod  = time.Hour
)

// maxWait is the bound on a call's wait.
func (o *Options) maxWait(s *lease.Semaphore) time.Duration {
	return cmp.Or(o.MaxWait, s.Config().MaxWait, defaultMaxWait)
}

// StatusOf is the standard answer to a call that got no permit because of err. It does not tell the client what the
// error is.
func StatusOf(err error) *status.Status {
	var full *lease.CapacityError
	var bad *pickError
	switch {
	case errors.As(err, &bad):
		if s, has := status.FromError(bad.err); has {
			return s
		}
		return status.New(codes.Internal, "the limit of this call cannot be told")
	case errors.As(err, &full):
		return withRetry(status.New(codes.ResourceExhausted, "at capacity, try again later"), full.RetryAfter)
	case errors.Is(err, context.DeadlineExceeded):
		return status.New(codes.DeadlineExceeded, "the deadline was over before a permit was free")
	case errors.Is(err, context.Canceled):
		return status.New(codes.Canceled, "canceled before a permit was free")
	}
	return withRetry(status.New(codes.Unavailable, "no permit can be had now, try again later"), retryOutage)
}

func withRetry(s *status.Status, after time.Duration) *status.Status {
	with, err := s.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)})
	if err != nil {
		return s
	}
	return with
}

// A pickError tells an error of pick from one of the acquire.
type pickError struct{ err error }

func (e *pickError) Error() string { return "leasegrpc: pick a semaphore: " + e.err.Error() }
func (e *pickError) Unwrap() error { return e.err }

// A troubleLog logs trouble with Redis, once in each troublePeriod: calls that are refused may be many. The zero value is
// ready to use. Safe for concurrent use.
type troubleLog struct {
	mu   sync.Mutex
	last time.Time // zero: nothing was logged
}

func (t *troubleLog) note(ctx context.Context, s *lease.Semaphore, err error) {
	var trouble *lease.RedisError
	if errors.As(err, &trouble) && t.isDue(time.Now()) {
		s.Logger().WarnContext(ctx, "lease: calls are refused: no permit from Redis", "semaphore", s.Name(), "err", err)
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
