package lease

import (
	"context"
	"time"
)

// A Tracer is told what happens to the leases of a manager: for metrics, traces and logs of one's own. Embed NopTracer
// in an implementation, and write the methods that are of interest.
//
// TraceAcquireStart, TraceAcquireEnd, TraceReleaseStart and TraceReleaseEnd are called in the goroutine of the caller, as
// is TraceLeaseEnd when the holder releases. A slow tracer makes that caller slow, and no renewal. What it does when a
// holder releases comes before the permit goes back: whoever waits for that permit waits for the tracer too. What no
// caller waits for is told in the background, one call at a time and in order: the end of a lease that its
// holder did not ask for, the end of ReleaseAsync, and the methods without a context. Nothing waits for these calls, Close
// neither. What a slow tracer has not been told yet is kept, up to 10,000 calls; then calls are left out, and
// TraceDropped tells how many.
//
// From these calls exact gauges follow. Callers that wait: TraceAcquireStart less TraceAcquireEnd. Leases that live:
// TraceAcquireEnd without an error, less TraceLeaseEnd, which comes exactly once for each, and later.
// TraceDropped corrects them where ends of leases were left out.
//
// A tracer must be safe for concurrent use. It must not panic. It may call whatever the package offers.
type Tracer interface {
	// TraceAcquireStart is called when Acquire begins. The other calls for this acquire and for its lease get the context
	// that it returns, which must derive from ctx. The lease's own contexts derive from the caller's.
	TraceAcquireStart(ctx context.Context, start AcquireStart) context.Context
	// TraceAcquireEnd is called before Acquire returns.
	TraceAcquireEnd(ctx context.Context, end AcquireEnd)
	// TraceLeaseEnd is called once for each lease, when its contexts have ended.
	TraceLeaseEnd(ctx context.Context, end LeaseEnd)
	// TraceReleaseStart is called when Release or ReleaseAsync begins. TraceReleaseEnd gets the context that it returns.
	TraceReleaseStart(ctx context.Context, start ReleaseStart) context.Context
	// TraceReleaseEnd is called before Release returns; for ReleaseAsync when Redis has answered, or the time for that is
	// over.
	TraceReleaseEnd(ctx context.Context, end ReleaseEnd)

	// TraceRenewal is called for each attempt to renew leases of one semaphore.
	TraceRenewal(Renewal)
	// TraceDisagreement is called when Redis says that another process declares another capacity or TTL.
	TraceDisagreement(Disagreement)
	// TraceRecovery is called when Redis answers for a semaphore again.
	TraceRecovery(Recovery)
	// TraceDropped is called when calls were left out, once for each semaphore that they were about.
	TraceDropped(Dropped)
}

// An AcquireStart says what a caller asks for.
type AcquireStart struct {
	Name    string        // of the semaphore
	Weight  int           // permits
	Label   string        // empty: none
	MaxWait time.Duration // negative: one attempt; 0: no bound
}

// An AcquireEnd says how an acquire ended.
type AcquireEnd struct {
	Name    string
	Weight  int
	Outcome Outcome
	Err     error // what Acquire returns; nil: there is a lease
	Waited  time.Duration
	Queued  time.Time // since when it was known that the caller had to wait; zero: it did not have to
	Place   int       // in the line then, from 1, as far as the process knew
	Lease   LeaseInfo // where there is one
}

// A LeaseInfo says which lease it is.
type LeaseInfo struct {
	Name   string
	ID     string // of the permit; a permit that is handed over has several leases
	Token  int64  // of the lease alone
	Weight int
	Label  string // empty: none
	Began  time.Time
}

// A LeaseEnd says why a lease ended.
type LeaseEnd struct {
	Lease  LeaseInfo
	Held   time.Duration // since it began
	Reason EndReason
	Err    error // what Lease.Err says: ErrReleased, a *LostError, a *HoldError, ErrClosed or ErrAbandoned
}

// A ReleaseStart says what is given back.
type ReleaseStart struct {
	Lease LeaseInfo
	Async bool // with ReleaseAsync: nobody waits
}

// A ReleaseEnd says how that went.
type ReleaseEnd struct {
	Lease LeaseInfo
	Async bool
	Err   error // nil: the permit is given back, or passed on; a *RedisError: that goes on in the background
}

// A Renewal is one attempt to renew leases of a semaphore together.
type Renewal struct {
	Name   string
	Leases int
	Slack  time.Duration // what was left of the shortest of their trust windows; where Err is nil
	Window time.Duration // how long a fresh grant is trusted
	Err    error         // why it failed; it is repeated until the trust windows end
}

// A Disagreement says that another process declares other limits.
type Disagreement struct {
	Name     string
	Capacity int // what the other declares
	TTL      time.Duration
}

// A Recovery says that Redis answers again.
type Recovery struct {
	Name   string
	Outage time.Duration // since the first attempt failed
}

// Dropped says what a tracer was not told of a semaphore because it was slow.
type Dropped struct {
	Name    string // of the semaphore; empty: of those after the first 10,000
	Calls   int    // in all
	Leases  int    // of these, ends of leases
	Permits int    // that these leases had
}

// An Outcome is how an acquire ended.
type Outcome uint8

const (
	OutcomeGranted    Outcome = iota // Redis gave a permit
	OutcomeHandedOver                // another caller of this process passed its permit on
	OutcomeAtCapacity                // no permit was free, and the wait is over
	OutcomeCanceled                  // the caller's context ended
	OutcomeClosed                    // the manager was shut down or closed
	OutcomeFailed                    // anything else; AcquireEnd.Err says what
	OutcomeReused                    // a permit lingered in this process: Config.Linger
)

func (o Outcome) String() string {
	return [...]string{"granted", "handed_over", "at_capacity", "canceled", "closed", "failed", "reused"}[o]
}

// An EndReason is why a lease ended.
type EndReason uint8

const (
	EndReleased  EndReason = iota // by its holder
	EndLost                       // the permit could no longer be trusted
	EndMaxHold                    // it was held for longer than MaxHold
	EndClosed                     // the manager was closed
	EndAbandoned                  // it was garbage collected
)

func (r EndReason) String() string {
	return [...]string{"released", "lost", "max_hold", "closed", "abandoned"}[r]
}

// NopTracer does nothing. An implementation of Tracer embeds it, so that it need not have all methods, also those that
// later versions add.
type NopTracer struct{}

var _ Tracer = NopTracer{}

// TraceAcquireStart returns ctx.
func (NopTracer) TraceAcquireStart(ctx context.Context, _ AcquireStart) context.Context { return ctx }

// TraceAcquireEnd does nothing.
func (NopTracer) TraceAcquireEnd(context.Context, AcquireEnd) {}

// TraceLeaseEnd does nothing.
func (NopTracer) TraceLeaseEnd(context.Context, LeaseEnd) {}

// TraceReleaseStart returns ctx.
func (NopTracer) TraceReleaseStart(ctx context.Context, _ ReleaseStart) context.Context { return ctx }

// TraceReleaseEnd does nothing.
func (NopTracer) TraceReleaseEnd(context.Context, ReleaseEnd) {}

// TraceRenewal does nothing.
func (NopTracer) TraceRenewal(Renewal) {}

// TraceDisagreement does nothing.
func (NopTracer) TraceDisagreement(Disagreement) {}

// TraceRecovery does nothing.
func (NopTracer) TraceRecovery(Recovery) {}

// TraceDropped does nothing.
func (NopTracer) TraceDropped(Dropped) {}

// tracers tells each of them, in order.
type tracers []Tracer

// tracerOf is one tracer for all; nil: there is none.
func tracerOf(all []Tracer) Tracer {
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return tracers(all)
}

func (all tracers) TraceAcquireStart(ctx context.Context, start AcquireStart) context.Context {
	for _, t := range all {
		ctx = t.TraceAcquireStart(ctx, start)
	}
	return ctx
}

func (all tracers) TraceAcquireEnd(ctx context.Context, end AcquireEnd) {
	for _, t := range all {
		t.TraceAcquireEnd(ctx, end)
	}
}

func (all tracers) TraceLeaseEnd(ctx context.Context, end LeaseEnd) {
	for _, t := range all {
		t.TraceLeaseEnd(ctx, end)
	}
}

func (all tracers) TraceReleaseStart(ctx context.Context, start ReleaseStart) context.Context {
	for _, t := range all {
		ctx = t.TraceReleaseStart(ctx, start)
	}
	return ctx
}

func (all tracers) TraceReleaseEnd(ctx context.Context, end ReleaseEnd) {
	for _, t := range all {
		t.TraceReleaseEnd(ctx, end)
	}
}

func (all tracers) TraceRenewal(r Renewal) {
	for _, t := range all {
		t.TraceRenewal(r)
	}
}

func (all tracers) TraceDisagreement(d Disagreement) {
	for _, t := range all {
		t.TraceDisagreement(d)
	}
}

func (all tracers) TraceRecovery(r Recovery) {
	for _, t := range all {
		t.TraceRecovery(r)
	}
}

func (all tracers) TraceDropped(d Dropped) {
	for _, t := range all {
		t.TraceDropped(d)
	}
}
