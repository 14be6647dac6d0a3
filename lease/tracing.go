package lease

import (
	"context"
	"errors"
	"sync"

	"github.com/eqworks/passbuddy/internal/protocol"
)

// A trace is what the tracers know of a lease.
type trace struct {
	ctx       context.Context // of its acquire
	releasing context.Context // of its release
}

// traceAcquire is wait, with the tracers told.
func (s *Semaphore) traceAcquire(ctx context.Context, o acquireOptions, w *protocol.Waiter) (*Lease, error) {
	m := s.manager
	began := m.now()
	traced := m.tracer.TraceAcquireStart(ctx, AcquireStart{Name: s.cfg.Name, Weight: o.weight, Label: o.label, MaxWait: o.maxWait})
	l, err := s.wait(ctx, o, w)
	end := AcquireEnd{
		Name: s.cfg.Name, Weight: o.weight, Outcome: outcomeOf(ctx, err), Err: err, Waited: m.now().Mono - began.Mono, Place: w.Place,
	}
	if !w.Queued.IsZero() {
		end.Queued = m.timeOf(w.Queued)
	}
	if err == nil {
		end.Lease = l.hold.info()
		switch {
		case l.hold.Reused:
			end.Outcome = OutcomeReused
		case l.hold.WasHandedOver():
			end.Outcome = OutcomeHandedOver
		}
	}
	m.tracer.TraceAcquireEnd(traced, end)
	if err == nil {
		l.hold.traceFrom(traced)
	}
	return l, err
}

func outcomeOf(ctx context.Context, err error) Outcome {
	switch {
	case err == nil:
		return OutcomeGranted
	case errors.Is(err, ErrAtCapacity):
		return OutcomeAtCapacity
	case errors.Is(err, ErrClosed):
		return OutcomeClosed
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		return OutcomeCanceled
	}
	return OutcomeFailed
}

// info says which lease it is.
func (h *hold) info() LeaseInfo {
	return LeaseInfo{Name: h.semaphore.cfg.Name, ID: h.Grant.ID, Token: h.Token, Weight: int(h.Grant.Weight), Label: h.Grant.Label, Began: h.semaphore.manager.timeOf(h.Began)}
}

// traceFrom has the tracers told of the end of the lease, now that they know of its beginning.
func (h *hold) traceFrom(ctx context.Context) {
	h.mu.Lock()
	h.trace = &trace{ctx: ctx}
	reason := h.reason
	h.mu.Unlock()
	if reason != nil {
		h.traceEnd(reason)
	}
}

// traceEnd tells the tracers that the lease has ended. It is called once, if they know of the lease.
func (h *hold) traceEnd(reason error) {
	m := h.semaphore.manager
	end := LeaseEnd{Lease: h.info(), Held: m.now().Mono - h.Began.Mono, Reason: endOf(reason), Err: reason}
	if end.Reason == EndReleased {
		m.tracer.TraceLeaseEnd(h.trace.ctx, end)
		return
	}
	m.notifier.add(call{end: &end, ctx: h.trace.ctx})
}

func endOf(reason error) EndReason {
	switch {
	case errors.Is(reason, ErrReleased):
		return EndReleased
	case errors.Is(reason, ErrMaxHold):
		return EndMaxHold
	case errors.Is(reason, ErrClosed):
		return EndClosed
	case errors.Is(reason, ErrAbandoned):
		return EndAbandoned
	}
	return EndLost
}

// traceRelease is giveBack, with the tracers told.
func (h *hold) traceRelease(wait bool) error {
	h.mu.Lock()
	t := h.trace
	h.mu.Unlock()
	if t == nil {
		return h.giveBack(wait)
	}
	tracer := h.semaphore.manager.tracer
	t.releasing = tracer.TraceReleaseStart(t.ctx, ReleaseStart{Lease: h.info(), Async: !wait})
	err := h.giveBack(wait)
	if wait || err != nil {
		tracer.TraceReleaseEnd(t.releasing, ReleaseEnd{Lease: h.info(), Async: !wait, Err: err})
	}
	return err
}

// maxPendingCalls bounds what the tracers have not been told yet.
const maxPendingCalls = 10_000

// A notifier tells the tracers what no caller waits for. Safe for concurrent use.
type notifier struct {
	tracer Tracer // nil: nobody listens

	mu        sync.Mutex
	pending   []call
	notifying bool
	dropped   map[string]Dropped // by semaphore
}

// A call is what the tracers are told next: the end of a lease, or an event of a semaphore.
type call struct {
	ctx   context.Context // of end
	end   *LeaseEnd
	name  string
	event protocol.Event
}

func (n *notifier) addEvents(name string, events []protocol.Event) {
	for _, e := range events {
		n.add(call{name: name, event: e})
	}
}

func (n *notifier) add(c call) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.pending) >= maxPendingCalls {
		n.dropLocked(c)
		return
	}
	n.pending = append(n.pending, c)
	if !n.notifying {
		n.notifying = true
		go n.run()
	}
}

// dropLocked counts a call that is left out.
func (n *notifier) dropLocked(c call) {
	name := c.name
	if c.end != nil {
		name = c.end.Lease.Name
	}
	d, known := n.dropped[name]
	if !known && len(n.dropped) >= maxPendingCalls {
		name = ""
		d = n.dropped[name]
	}
	d.Name = name
	d.Calls++
	if c.end != nil {
		d.Leases++
		d.Permits += c.end.Lease.Weight
	}
	if n.dropped == nil {
		n.dropped = map[string]Dropped{}
	}
	n.dropped[name] = d
}

// quiet reports whether the tracers have been told everything.
func (n *notifier) quiet() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.notifying
}

func (n *notifier) run() {
	for {
		n.mu.Lock()
		now, dropped := n.pending, n.dropped
		n.pending, n.dropped = nil, nil
		n.notifying = len(now)+len(dropped) > 0
		n.mu.Unlock()
		if len(now)+len(dropped) == 0 {
			return
		}
		for _, c := range now {
			n.tell(c)
		}
		for _, d := range dropped {
			n.tracer.TraceDropped(d)
		}
	}
}

func (n *notifier) tell(c call) {
	if c.end != nil {
		n.tracer.TraceLeaseEnd(c.ctx, *c.end)
		return
	}
	switch e := c.event; e.Kind {
	case protocol.EventRenewed:
		n.tracer.TraceRenewal(Renewal{Name: c.name, Leases: e.Leases, Slack: e.Slack, Window: e.Window})
	case protocol.EventRenewalFailed:
		n.tracer.TraceRenewal(Renewal{Name: c.name, Leases: e.Leases, Window: e.Window, Err: &RedisError{Op: "renew", Name: c.name, Err: public(e.Err)}})
	case protocol.EventDisagreement:
		n.tracer.TraceDisagreement(Disagreement{Name: c.name, Capacity: e.Capacity, TTL: e.TTL})
	case protocol.EventRecovered:
		n.tracer.TraceRecovery(Recovery{Name: c.name, Outage: e.Outage})
	case protocol.EventReleased:
		h := e.Holding.Holder.(*hold)
		h.mu.Lock()
		t := h.trace
		h.mu.Unlock()
		if t != nil { // else it never was a lease
			n.tracer.TraceReleaseEnd(t.releasing, ReleaseEnd{Lease: h.info(), Async: true, Err: h.errorOf(h.Result)})
		}
	}
}
