package lease

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// A Permit is one permit of a semaphore that this process takes and gives back again and again, shared
// by all who use it here at the same time: PassBuddy's object. While it is held it is renewed. For a
// permit per caller, use Semaphore.Acquire or Do.
//
// It is taken by Acquire, or by Use when it is not held, and given back by Release alone: a Permit that
// nobody releases stays taken for as long as the process lives. Safe for concurrent use.
type Permit struct {
	// immutable
	semaphore *Semaphore
	opts      []AcquireOption

	mu      sync.Mutex
	holding *holding // nil: nothing is held or being taken
}

// Permit returns a permit that is not held. opts apply whenever it is taken; an option that cannot work
// is reported then. It does no I/O.
func (s *Semaphore) Permit(opts ...AcquireOption) *Permit {
	return &Permit{semaphore: s, opts: opts[:len(opts):len(opts)]}
}

// Client returns the client that the permit's manager talks through.
func (p *Permit) Client() redis.UniversalClient { return p.semaphore.manager.client }

// IsHeld reports whether the permit is held and trusted at this moment, by the clock.
func (p *Permit) IsHeld() bool {
	p.mu.Lock()
	var l *Lease
	if p.holding != nil {
		l = p.holding.lease
	}
	p.mu.Unlock()
	return l != nil && l.Valid()
}

// Acquire takes the permit, or extends it at once when it is held. It stays taken, renewed, until Release.
//
// Taking it waits as Semaphore.Acquire does, with its errors. Callers who wait at the same time share one
// wait, and the end of it: MaxWait counts from the first of them. One whose ctx ends leaves the others
// waiting; when the last has left, nothing is taken. Extending waits for Redis's answer and rides trouble
// out; a permit that was lost is taken anew. After a Release, Acquire waits until the permit is given back.
//
// ctx bounds the wait only: it may end afterwards. To work under the permit, use Use.
func (p *Permit) Acquire(ctx context.Context) error {
	for {
		t, taken, err := p.enter(ctx, false, nil)
		if err != nil || taken {
			return err
		}
		if t.lease.hold.renewNow(ctx) == nil {
			return nil
		}
		if ctx.Err() != nil {
			return p.semaphore.waitEnded(ctx, nil)
		}
	}
}

// Use takes the permit unless it is held, and returns a context to work under: it carries ctx's values
// and deadline, and ends with ctx and with the lease; context.Cause says why, and FromContext returns the
// lease. done says that this user is done, and ends the context; it must be called, also after a loss,
// and may be called again. The permit stays taken until Release.
//
// It waits as Acquire does, and not at all when the permit is held. While a Release waits for the users,
// a new one waits until the permit is given back. Where ctx is derived from the context of a present user, the call
// belongs to that user and does not wait. On an error the context is ctx and done does nothing.
func (p *Permit) Use(ctx context.Context) (_ context.Context, done context.CancelFunc, err error) {
	return p.use(ctx, nil)
}

// use is Use and UseWithin. A nil maxWait is the bound of opts.
func (p *Permit) use(ctx context.Context, maxWait *time.Duration) (context.Context, context.CancelFunc, error) {
	t, _, err := p.enter(ctx, true, maxWait)
	if err != nil {
		return ctx, func() {}, err
	}
	used, end := t.lease.use(ctx)
	var once sync.Once
	done := func() {
		once.Do(func() {
			end()
			p.done(t)
		})
	}
	return context.WithValue(used, insideKey{p}, t), done, nil
}

// insideKey finds in a user's context the holding that it belongs to.
type insideKey struct{ permit *Permit }

// Release gives the permit back. While it has users, Release returns nil at once, nobody else gets in,
// and the last of them to be done gives it back. Without users it waits for Redis's answer, but no longer
// than the trust window, and returns what Lease.Release does: the loss, when it was lost meanwhile.
//
// It returns nil when the permit is not held. An acquire under way goes on: it ends with its callers'
// contexts.
func (p *Permit) Release() error { return p.release((*Lease).Release) }

func (p *Permit) release(giveBack func(*Lease) error) error {
	p.mu.Lock()
	t := p.holding
	if t == nil || t.lease == nil {
		p.mu.Unlock()
		return nil
	}
	t.leaving = true
	if t.users > 0 {
		p.mu.Unlock()
		return nil
	}
	t.givingBack = true
	p.mu.Unlock()
	err := giveBack(t.lease) // of two callers the second waits for the first
	p.leave(t)
	return err
}

// ReleaseAsync is Release for callers that must not wait for Redis: without users, the permit goes back in
// the background, as with Lease.ReleaseAsync.
func (p *Permit) ReleaseAsync() {
	_ = p.release(func(l *Lease) error {
		l.ReleaseAsync()
		return nil
	})
}

// UseWithin is Use with a bound on the wait of this caller, in place of the bounds of Semaphore.Permit and of
// the Config. When maxWait is over, it returns ErrAtCapacity (a *CapacityError), or a *RedisError when the
// latest attempt failed. Negative: there is one attempt; 0 is the bound of Semaphore.Permit or of the Config. A caller
// that joins the wait of others leaves
// it when its own bound is over; they go on waiting.
//
// A timeout of ctx bounds the wait too, but ends the user's context later as well.
func (p *Permit) UseWithin(ctx context.Context, maxWait time.Duration) (_ context.Context, done context.CancelFunc, err error) {
	if maxWait == 0 {
		return p.use(ctx, nil)
	}
	return p.use(ctx, &maxWait)
}

// Semaphore returns the semaphore that the permit belongs to.
func (p *Permit) Semaphore() *Semaphore { return p.semaphore }

// A BindOption changes what Bind returns.
type BindOption func(*bindOptions)

type bindOptions struct{ release bool }

// ReleaseOnComplete gives the permit back after each call, or rather after the last of those that run at
// the same time.
func ReleaseOnComplete() BindOption { return func(o *bindOptions) { o.release = true } }

// Bind returns a function that runs fn as a user of p: it takes the permit unless it is held, passes fn a
// context that ends with the lease, and is done when fn has returned, panicked or called runtime.Goexit.
// The permit stays taken, unless ReleaseOnComplete says otherwise. See Permit.Use for the wait and its
// errors. The function is safe for concurrent use if fn is.
//
// It returns what fn returns. When the lease was lost before fn returned, the error matches that too, as
// that of Semaphore.Do does. A nil p or fn is an error of every call.
//
// What fn returns must be complete. A result that is read later, such as *sql.Rows, an open response body
// or an iterator, is read without the permit, and its context has ended: read it inside fn.
func Bind[A, R any](p *Permit, fn func(context.Context, A) (R, error), opts ...BindOption) func(context.Context, A) (R, error) {
	var o bindOptions
	for _, opt := range opts {
		opt(&o)
	}
	return func(ctx context.Context, arg A) (result R, err error) {
		switch {
		case p == nil:
			return result, &OptionError{"p", "nil", "pass the permit to use"}
		case fn == nil:
			return result, &OptionError{"fn", "nil", "pass the function to run"}
		}
		used, done, err := p.Use(ctx)
		if err != nil {
			return result, err
		}
		l, returned := FromContext(used), false
		defer func() {
			lost := l.lostMeanwhile()
			done()
			if o.release {
				p.ReleaseAsync()
			}
			if returned {
				err = withLoss(err, lost)
			}
		}()
		result, err = fn(used, arg)
		returned = true
		return result, err
	}
}
