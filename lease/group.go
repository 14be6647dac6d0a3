package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// A Group runs functions in goroutines, each under a lease of its own: an errgroup whose limit is the
// capacity of a semaphore, shared with the whole fleet. It is made by Semaphore.Group and used once.
//
// A function of a group must not wait for another permit of the same semaphore, by Go of this group or
// of another, by Acquire or by Do: when all permits are held by functions that wait like this, here or in
// other processes, none of them ever goes on. Start the inner work from outside, or limit it by another
// semaphore.
//
// Go, TryGo and Context are safe for concurrent use.
type Group struct {
	semaphore *Semaphore
	opts      []AcquireOption
	ctx       context.Context // ends with the first error, with Wait, and with the caller's
	cancel    context.CancelCauseFunc
	running   sync.WaitGroup

	mu  sync.Mutex
	err error // the first
}

// Group returns a group whose functions run under permits of s. Its context is derived from ctx. opts
// apply to each acquire. It does no I/O.
func (s *Semaphore) Group(ctx context.Context, opts ...AcquireOption) *Group {
	g := &Group{semaphore: s, opts: opts[:len(opts):len(opts)]}
	var bad error
	if ctx == nil {
		ctx, bad = context.Background(), &OptionError{"ctx", "nil", "pass context.Background() where there is none"}
	}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	g.fail(bad)
	return g
}

// Context returns the group's context: it ends when the first error is there, when Wait has returned, or
// with the caller's context. Who produces work for Go should stop then.
func (g *Group) Context() context.Context { return g.ctx }

// Go waits for a permit, and then runs fn in a goroutine with the lease's context, below the group's. It
// returns when fn has started: who calls it in a loop never has more than one acquire waiting, and takes
// its place among the fleet's waiters once for each function, when its turn has come.
//
// A permit that does not come is the group's error: MaxWait used up, Redis out of reach, the manager
// closed. When the group's context ends first, Go returns and fn does not run; Wait says why. A nil fn is
// an error of the group.
func (g *Group) Go(fn func(context.Context) error) {
	if fn == nil {
		g.fail(&OptionError{"fn", "nil", "pass the function to run"})
		return
	}
	l, err := g.semaphore.Acquire(g.ctx, g.opts...)
	if err != nil {
		g.fail(err)
		return
	}
	g.start(l, fn)
}

// TryGo is Go with a single attempt: it reports whether fn was started. It waits for the answer of Redis.
// That no permit is free is no error of the group; all else is, as with Go.
func (g *Group) TryGo(fn func(context.Context) error) bool {
	if fn == nil {
		g.fail(&OptionError{"fn", "nil", "pass the function to run"})
		return false
	}
	l, err := g.semaphore.TryAcquire(g.ctx, g.opts...)
	switch {
	case err == nil:
		g.start(l, fn)
		return true
	case !errors.Is(err, ErrAtCapacity):
		g.fail(err)
	}
	return false
}

// start runs fn and gives its permit back. A panic is not carried over to Wait: it ends the program where
// it happened, as in any goroutine.
func (g *Group) start(l *Lease, fn func(context.Context) error) {
	g.running.Go(func() {
		g.fail(l.run(func(ctx context.Context) error {
			err := withLoss(g.explain(fn(ctx), ctx), l.lostMeanwhile())
			g.fail(err) // before the permit goes back: the next function must not start with it
			return err
		}))
	})
}

// explain puts the reason in place of an error that says no more than that the context ended.
func (g *Group) explain(err error, ctx context.Context) error {
	if err == nil || !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	cause := context.Cause(ctx)
	switch {
	case ctx.Err() == nil, errors.Is(err, cause):
		return err
	case err == ctx.Err():
		return cause
	default:
		return fmt.Errorf("%w: %w", err, cause)
	}
}

// Wait waits until every function has returned and its permit was given back, or the trust window of that
// has ended. It returns the first error: of a function, of a lost lease, or of an acquire. Where a
// function only said that its context ended, Wait says why: a *LostError, another function's error, the
// cause of the caller's context. Functions that were never started because that context ended are such an
// error too. It may be called again.
func (g *Group) Wait() error {
	g.running.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cancel(g.err)
	return g.err
}

// fail keeps the first error, and ends the group's context with it.
func (g *Group) fail(err error) {
	if err == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err == nil {
		g.err = err
		g.cancel(err)
	}
}
