package lease_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
)

func TestPromise6AlwaysAReason(t *testing.T) {
	changedMind := errors.New("changed my mind")
	for _, tc := range []struct {
		name string
		end  func(*world, *lease.Manager, *lease.Lease, context.CancelCauseFunc)
		want error
	}{
		{"expired", func(w *world, _ *lease.Manager, l *lease.Lease, _ context.CancelCauseFunc) {
			w.net.Host("p").Refuse()
			<-l.Context().Done()
			var trouble *net.OpError
			if !errors.As(l.Err(), &trouble) {
				w.Errorf("the last error of Redis is not inside: %v", l.Err())
			}
		}, lease.ErrLost},
		{"removed", func(w *world, _ *lease.Manager, l *lease.Lease, _ context.CancelCauseFunc) {
			w.net.Server().FlushAll()
		}, lease.ErrLost},
		{"released", func(_ *world, _ *lease.Manager, l *lease.Lease, _ context.CancelCauseFunc) { _ = l.Release() }, lease.ErrReleased},
		{"over MaxHold", func(*world, *lease.Manager, *lease.Lease, context.CancelCauseFunc) {}, lease.ErrMaxHold},
		{"closed", func(_ *world, m *lease.Manager, _ *lease.Lease, _ context.CancelCauseFunc) { _ = m.Close() }, lease.ErrClosed},
		{"the caller's cause", func(_ *world, _ *lease.Manager, _ *lease.Lease, cancel context.CancelCauseFunc) { cancel(changedMind) }, changedMind},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				m, _ := w.process("p", func(o *redis.Options, _ *lease.Options) { o.DialerRetries = 1 })
				ctx, cancel := context.WithCancelCause(context.Background())
				defer cancel(nil)
				l := w.acquireWith(ctx, w.semaphore(m, 1), lease.MaxHold(10*worldTTL))
				tc.end(w, m, l, cancel)
				<-l.Context().Done()
				if !errors.Is(l.Err(), tc.want) || !errors.Is(context.Cause(l.Context()), tc.want) {
					w.Errorf("Err %v, cause %v; want %v", l.Err(), context.Cause(l.Context()), tc.want)
				}
			})
		})
	}
}
