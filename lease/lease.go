package lease

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
	"weak"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/internal/transport"
)

// A Lease is a hold on a permit. Its contexts live while the permit is trusted. Safe for concurrent use.
//
// A nil *Lease answers, too: it is not valid, its error is ErrNoLease, and its contexts have ended with that. So
// lease.FromContext(ctx).Valid() needs no check before.
//
// A lease that is garbage collected before it was released is a bug of its holder: its contexts end,
// renewal stops, an error is logged, and time takes the permit. It is reachable from its contexts and
// from all that derive from them.
type Lease struct {
	hold *hold

	mu      sync.Mutex
	ctx     *leaseContext // made when first asked for
	heldCtx *leaseContext
}

// A hold is what outlives a Lease that is collected. From the first renewal on it refers to the Lease no more than
// weakly, so that the state keeps no lease from being collected.
type hold struct {
	protocol.Holding

	// immutable
	semaphore *Semaphore
	driver    *driver
	parent    context.Context

	// guarded by the driver
	young *Lease // until the first renewal: most leases are released before, and a weak pointer costs
	lease weak.Pointer[Lease]

	done     atomic.Bool
	released sync.Once
	back     error // what Release returned first

	mu         sync.Mutex
	reason     error // why the contexts ended, first of all
	lost       error // what Ending says; made when first asked for
	cancel     context.CancelCauseFunc
	cancelHeld context.CancelCauseFunc
	users      map[*user]struct{} // of a Permit: context.go
	trace      *trace             // nil: no tracer knows of the lease
}

// newLease makes the lease on a permit that is still to come.
func newLease(h *hold) *Lease {
	l := &Lease{hold: h}
	h.young, h.Holder = l, h
	return l
}

// Orphaned reports whether the lease was garbage collected before it was released. It is asked at each
// renewal, and from the second on it can tell.
func (h *hold) Orphaned() bool {
	if h.young != nil {
		h.lease, h.young = weak.Make(h.young), nil
	}
	return h.lease != weak.Pointer[Lease]{} && h.lease.Value() == nil
}

// valid reports whether the permit is trusted, by the clock, and otherwise ends the contexts at once,
// before any timer has run.
func (h *hold) valid() bool {
	if h.done.Load() {
		h.end(nil) // whoever ended it may not have cancelled the contexts yet
		return false
	}
	m := h.semaphore.manager
	now := m.now()
	if !now.Reached(h.Grant.Until.End()) && !protocol.Due(now, h.EndsAt) {
		return true
	}
	d := h.driver
	d.tick()
	d.mu.Lock()
	why := h.Ending
	d.mu.Unlock()
	if why == nil {
		return !h.done.Load() // renewed since the first look
	}
	h.end(h.errorOf(why))
	return false
}

// end cancels the contexts, with the first reason that anybody gave, and returns it. When it returns they
// are cancelled, whoever began it. It may be called again.
func (h *hold) end(reason error) error {
	h.mu.Lock()
	first := h.reason == nil
	if first {
		h.reason = reason
		h.done.Store(true)
	}
	reason = h.reason
	traced := first && h.trace != nil
	cancel, cancelHeld := h.cancel, h.cancelHeld
	h.mu.Unlock()
	// Not under the lock: a context below may look at a lease above, and that may end others.
	if cancel != nil {
		cancel(reason)
	}
	if cancelHeld != nil {
		cancelHeld(reason)
	}
	h.endUsers(reason)
	if traced {
		h.traceEnd(reason)
	}
	return reason
}

// over returns why the lease ended, nil while it is held.
func (h *hold) over() error {
	if h.valid() {
		return nil
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.reason
}

// giveBack ends the contexts and releases the permit. wait: until Redis has answered, or the trust
// window has ended.
func (h *hold) giveBack(wait bool) error {
	h.valid() // a loss that nobody has noticed yet comes first
	reason := h.end(ErrReleased)
	m := h.semaphore.manager
	d := h.driver
	d.mu.Lock()
	if d.dead { // lost, or over MaxHold, and nobody else uses the semaphore
		d.mu.Unlock()
		var err error
		if d, err = m.driverOf(h.semaphore, true); err != nil {
			if reason == ErrReleased {
				return err // Close was faster, and gives nothing back
			}
			return reason
		}
	}
	if wait {
		h.Confirmed = make(chan struct{})
	}
	now := m.now()
	d.state.Release(now, &h.Holding)
	// Who waits anyway may carry it: that lasts no longer than the wait.
	d.finish(now, wait && m.transport.Bounded() && !now.Add(transport.MaxInline).Reached(h.Grant.Until.End()))
	if !wait {
		return nil
	}
	<-h.Confirmed
	return h.errorOf(h.Result)
}

// giveUp returns a permit that never became a lease.
func (h *hold) giveUp() { _ = h.giveBack(false) }

// Valid reports whether the permit is trusted at this moment, by the clock. It goes by the permit alone:
// it stays true when the caller's context has ended.
func (l *Lease) Valid() bool { return l != nil && l.hold.valid() }

// Err says why the lease ended: a *LostError (ErrLost), ErrReleased, a *HoldError (ErrMaxHold) or
// ErrClosed. While the permit is held it returns the cause of the caller's context, or nil while that
// lives too.
func (l *Lease) Err() error {
	if l == nil {
		return ErrNoLease
	}
	if err := l.hold.over(); err != nil {
		return err
	}
	if l.hold.parent.Err() != nil {
		return context.Cause(l.hold.parent)
	}
	return nil
}

// TrustedUntil returns the end of the trust window, which every renewal moves on.
func (l *Lease) TrustedUntil() time.Time {
	if l == nil {
		return time.Time{}
	}
	return l.hold.semaphore.manager.timeOf(l.hold.Grant.Until.End())
}

// Token returns the fencing token: unique for the semaphore, and with a capacity of 1 larger than those
// of all leases before. Pass it along with writes to a store that refuses older ones.
func (l *Lease) Token() int64 {
	if l == nil {
		return 0
	}
	return l.hold.Token
}

// ID returns the permit's id, as it stands in Redis.
func (l *Lease) ID() string {
	if l == nil {
		return ""
	}
	return l.hold.Grant.ID
}

// Label returns what the acquire was labelled with; empty: nothing.
func (l *Lease) Label() string {
	if l == nil {
		return ""
	}
	return l.hold.Grant.Label
}

// Slots returns the lease's numbers in ascending order, as many as it weighs: with Config.Slots, else nil.
func (l *Lease) Slots() []int {
	if l == nil {
		return nil
	}
	return slices.Clone(l.hold.Grant.Slots)
}

// Name returns the name of the semaphore.
func (l *Lease) Name() string {
	if l == nil {
		return ""
	}
	return l.hold.semaphore.cfg.Name
}

// Release ends the contexts, then gives the permit back and waits for Redis's answer: two seconds at most, and no longer
// than the trust window. It needs no context: it works when the caller's has ended.
//
// It returns nil when the permit is given back, and the loss when it was lost before. A *RedisError
// says that no answer came in time: the release goes on in the background. ErrClosed says that Close came first. In both
// cases the permit is free at the latest when its TTL is over. Every call returns what the first returned; ignoring it is
// safe.
func (l *Lease) Release() error {
	if l == nil {
		return ErrNoLease
	}
	h := l.hold
	h.released.Do(func() {
		defer runtime.KeepAlive(l)
		h.back = h.traceRelease(true)
	})
	return h.back
}

// ReleaseAsync is Release for callers that must not wait for Redis: it ends the contexts and returns. The
// permit goes back in the background, at the latest when its TTL is over. A later Release returns at once:
// the loss when the lease was lost before, nil otherwise.
func (l *Lease) ReleaseAsync() {
	if l == nil {
		return
	}
	h := l.hold
	h.released.Do(func() {
		defer runtime.KeepAlive(l)
		h.back = l.lostMeanwhile()
		_ = h.traceRelease(false)
	})
}
