package lease

import (
	"context"
	"maps"
	"slices"
)

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
