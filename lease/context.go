package lease

import (
	"context"
	"maps"
	"slices"
	"time"
)

// Context returns the context to work under: it carries the caller's values and deadline, and ends with
// the caller's context, on release, on loss and with MaxHold, which shows in its deadline too. context.Cause and Lease.Err
// say why. Cancelling the
// caller's context keeps the permit, renewed, until Release: teardown comes first, under Held.
//
// Its own Err and Done look at the clock: after a pause of the process they answer right at once, and
// take along the contexts that derive from it. Those cannot look for themselves: before a step that
// cannot be undone, ask Valid.
func (l *Lease) Context() context.Context {
	if l == nil {
		return noLease
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		l.ctx = l.derive(l.hold.parent, &l.hold.cancel)
		l.ctx.parent, l.ctx.above = l.hold.parent, FromContext(l.hold.parent)
	}
	return l.ctx
}

// Held returns the context to clean up under: it carries the caller's values, and ends on release and
// on loss, not with the caller's context. Its deadline is the end of MaxHold, if there is one.
func (l *Lease) Held() context.Context {
	if l == nil {
		return noLease
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.heldCtx == nil {
		l.heldCtx = l.derive(context.WithoutCancel(l.hold.parent), &l.hold.cancelHeld)
	}
	return l.heldCtx
}

// noLease is the context of a nil *Lease.
var noLease = func() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(ErrNoLease)
	return ctx
}()

func (l *Lease) derive(parent context.Context, where *context.CancelCauseFunc) *leaseContext {
	inner, cancel := context.WithCancelCause(parent)
	h := l.hold
	h.mu.Lock()
	*where = cancel
	reason := h.reason
	h.mu.Unlock()
	if reason != nil {
		cancel(reason)
	}
	return &leaseContext{Context: inner, lease: l}
}

type leaseKey struct{}

// FromContext returns the lease that ctx belongs to, the innermost one, or nil.
func FromContext(ctx context.Context) *Lease {
	l, _ := ctx.Value(leaseKey{}).(*Lease)
	return l
}

// A leaseContext looks at the clock before it answers. It answers with its inner context's own words,
// after ending that: an error of its own would leave the children alive, and could come and go. Done is
// the inner context's channel and Value passes through it, so that package context finds the inner
// cancel context and needs no goroutine for the children.
type leaseContext struct {
	context.Context // derived from the caller's
	lease           *Lease
	parent          context.Context // the caller's; nil for Held
	above           *Lease          // the lease that the caller's context belongs to
}

func (c *leaseContext) look() {
	c.lease.hold.valid()
	for l := c.above; l != nil; l = FromContext(l.hold.parent) {
		l.hold.valid() // its end reaches this context before the call returns
	}
	if c.parent != nil {
		_ = c.parent.Err() // a lease's context right above looks as well
	}
}

// Deadline returns the earlier of the caller's deadline and the end of MaxHold. A renewal moves the end of the trust
// window, so that is none.
func (c *leaseContext) Deadline() (time.Time, bool) {
	at, ok := c.Context.Deadline()
	if h := c.lease.hold; !h.EndsAt.IsZero() {
		if end := h.semaphore.manager.timeOf(h.EndsAt); !ok || end.Before(at) {
			return end, true
		}
	}
	return at, ok
}

// Done returns a channel that is closed when the lease ends or the caller's context does.
func (c *leaseContext) Done() <-chan struct{} {
	c.look()
	return c.Context.Done()
}

// Err returns why the context ended, as package context has it; context.Cause tells the reason.
func (c *leaseContext) Err() error {
	c.look()
	return c.Context.Err()
}

// Value returns the lease for FromContext, and the caller's values.
func (c *leaseContext) Value(key any) any {
	if key == (leaseKey{}) {
		return c.lease
	}
	return c.Context.Value(key)
}

// A user is a context that ends with a lease and with a caller who did not acquire it.
type user struct{ cancel context.CancelCauseFunc }

// use returns a context like Context, below ctx instead of the context that the lease was acquired with.
// done ends it, with the reason context.Canceled. It costs no goroutine, for any number of users and of
// their children: the lease ends its users itself, all before its permit goes back.
func (l *Lease) use(ctx context.Context) (_ context.Context, done func()) {
	inner, cancel := context.WithCancelCause(ctx)
	u, h := &user{cancel}, l.hold
	h.mu.Lock()
	reason := h.reason
	if reason == nil {
		if h.users == nil {
			h.users = map[*user]struct{}{}
		}
		h.users[u] = struct{}{}
	}
	h.mu.Unlock()
	if reason != nil {
		cancel(reason)
	}
	done = func() {
		h.mu.Lock()
		delete(h.users, u)
		h.mu.Unlock()
		cancel(nil)
	}
	return &leaseContext{Context: inner, lease: l, parent: ctx, above: FromContext(ctx)}, done
}

// endUsers cancels the contexts of the users. When it returns they are cancelled, whoever began it.
func (h *hold) endUsers(reason error) {
	h.mu.Lock()
	users := slices.Collect(maps.Keys(h.users))
	h.mu.Unlock()
	if len(users) == 0 {
		return
	}
	for _, u := range users {
		u.cancel(reason)
	}
	h.mu.Lock()
	for _, u := range users {
		delete(h.users, u)
	}
	h.mu.Unlock()
}
