package leasegrpc

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/eqworks/passbuddy/lease"
)

// A Pick chooses the semaphore of a call by its context, which has the metadata, and its method, such as
// /package.Service/Method. nil: the call needs no permit. It must be safe for concurrent use.
type Pick func(ctx context.Context, method string) (*lease.Semaphore, error)

// Unary returns an interceptor that gives each unary call a permit of s. The package documentation says what the handler
// sees, and what a client gets. A nil semaphore is a panic with a *lease.OptionError. The interceptor is safe for
// concurrent use.
func Unary(s *lease.Semaphore, o Options) grpc.UnaryServerInterceptor { return UnaryBy(always(s), o) }

// Stream is Unary for streams, which hold their permits until their handlers return.
func Stream(s *lease.Semaphore, o Options) grpc.StreamServerInterceptor {
	return StreamBy(always(s), o)
}

// UnaryBy is Unary with the semaphore that pick chooses for each call. A nil pick is a panic with a *lease.OptionError.
func UnaryBy(pick Pick, o Options) grpc.UnaryServerInterceptor {
	l := newLimit(pick, o)
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (resp any, err error) {
		err = l.run(ctx, info.FullMethod, func(ctx context.Context) (err error) {
			resp, err = handler(ctx, req)
			return err
		})
		return resp, err
	}
}

// StreamBy is Stream with the semaphore that pick chooses for each call. A nil pick is a panic with a *lease.OptionError.
func StreamBy(pick Pick, o Options) grpc.StreamServerInterceptor {
	l := newLimit(pick, o)
	return func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		return l.run(stream.Context(), info.FullMethod, func(ctx context.Context) error {
			return handler(srv, leased{stream, ctx})
		})
	}
}

// leased is a stream whose context is the lease's.
type leased struct {
	grpc.ServerStream
	ctx context.Context
}

func (s leased) Context() context.Context { return s.ctx }

func always(s *lease.Semaphore) Pick {
	if s == nil {
		panic(&lease.OptionError{Option: "s", Value: "nil", Problem: "pass the semaphore"})
	}
	return func(context.Context, string) (*lease.Semaphore, error) { return s, nil }
}

// A limit is what an interceptor does.
type limit struct {
	pick    Pick
	o       Options
	trouble troubleLog
}

func newLimit(pick Pick, o Options) *limit {
	if pick == nil {
		panic(&lease.OptionError{Option: "pick", Value: "nil", Problem: "pass the function that chooses the semaphore"})
	}
	return &limit{pick: pick, o: o}
}

// run runs handle under a permit.
func (l *limit) run(ctx context.Context, method string, handle func(context.Context) error) error {
	s, err := l.pick(ctx, method)
	switch {
	case err != nil:
		return l.refuse(ctx, method, &pickError{err}, handle)
	case s == nil:
		return handle(ctx)
	}
	held, err := s.Acquire(ctx, lease.MaxWait(l.o.maxWait(s)))
	if err == nil && ctx.Err() != nil { // the call ended as its permit came
		held.ReleaseAsync()
		err = ctx.Err()
	}
	if err != nil {
		l.trouble.note(ctx, s, err)
		return l.refuse(ctx, method, err, handle)
	}
	defer held.ReleaseAsync()
	err = handle(held.Context())
	if lost := held.Err(); err != nil && ctx.Err() == nil && (errors.Is(lost, lease.ErrLost) || errors.Is(lost, lease.ErrMaxHold) || errors.Is(lost, lease.ErrClosed)) {
		return status.Error(codes.Unavailable, "the permit was lost while the call was under way")
	}
	return err
}

// refuse answers a call that has no permit.
func (l *limit) refuse(ctx context.Context, method string, err error, handle func(context.Context) error) error {
	if l.o.OnError == nil {
		return StatusOf(err).Err()
	}
	if err := l.o.OnError(ctx, method, err); err != nil {
		return err
	}
	return handle(ctx)
}
