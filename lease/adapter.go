package lease

import (
	"context"
	"log/slog"
	"runtime"
	"time"
)

// What packages such as leasehttp need to run handlers under permits: a wait that is the handler's own, a
// release that does not delay the response, and the place for warnings.

// ReleaseNoWait is Release for callers that must not wait for Redis: it ends the contexts and returns. The
// permit goes back in the background, at the latest when its TTL is over. A later Release returns at once:
// the loss when the lease was lost before, nil otherwise.
func (l *Lease) ReleaseNoWait() {
	h := l.hold
	h.released.Do(func() {
		defer runtime.KeepAlive(l)
		h.back = l.lostMeanwhile()
		h.giveUp()
	})
}

// ReleaseNoWait is Release for callers that must not wait for Redis: without users, the permit goes back in
// the background, as with Lease.ReleaseNoWait.
func (p *Permit) ReleaseNoWait() {
	_ = p.release(func(l *Lease) error {
		l.ReleaseNoWait()
		return nil
	})
}

// UseWithin is Use with a bound on the wait of this caller, in place of the bounds of Semaphore.Permit and of
// the Config. When maxWait is over, it returns ErrAtCapacity (a *CapacityError), or a *RedisError when the
// latest attempt failed. With maxWait ≤ 0 there is one attempt. A caller that joins the wait of others leaves
// it when its own bound is over; they go on waiting.
//
// A timeout of ctx bounds the wait too, but ends the user's context later as well.
func (p *Permit) UseWithin(ctx context.Context, maxWait time.Duration) (_ context.Context, done context.CancelFunc, err error) {
	return p.use(ctx, &maxWait)
}

// Semaphore returns the semaphore that the permit belongs to.
func (p *Permit) Semaphore() *Semaphore { return p.semaphore }

// Logger returns the logger of the semaphore's manager: Options.Logger, or what stands in for it.
func (s *Semaphore) Logger() *slog.Logger { return s.manager.log }
