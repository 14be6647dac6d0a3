package leaseotel

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/eqworks/passbuddy/internal/telemetry"
	"github.com/eqworks/passbuddy/lease"
)

// Attributes of spans alone, which are different for each lease.
const (
	keyWeight = attribute.Key("passbuddy.weight")
	keyID     = attribute.Key("passbuddy.lease.id")
	keyToken  = attribute.Key("passbuddy.lease.token")
	keyLabel  = attribute.Key("passbuddy.label")
	keyPlace  = attribute.Key("passbuddy.place")
	keyWaited = attribute.Key("passbuddy.waited") // s
	keyHeld   = attribute.Key("passbuddy.held")   // s
)

// An acquiring is what the context of an acquire carries from call to call. Another tracer of the same manager may put
// a span of its own into the context, so the current span need not be this one's.
type acquiring struct {
	span   trace.Span
	caller trace.SpanContext // the caller's span; may be none
	once   bool              // a single attempt: that it is refused is no error
}

type acquiringKey struct{ tracer *Tracer }

// begin starts the span of an acquire.
func (t *Tracer) begin(ctx context.Context, s *semaphore, start lease.AcquireStart) context.Context {
	caller := trace.SpanContextFromContext(ctx)
	ctx, span := t.tracer.Start(ctx, s.acquire)
	if !span.SpanContext().IsValid() {
		return ctx // nobody has set up tracing
	}
	if span.IsRecording() {
		span.SetAttributes(attribute.String(telemetry.Semaphore, start.Name), keyWeight.Int(start.Weight))
		if start.Label != "" {
			span.SetAttributes(keyLabel.String(start.Label))
		}
	}
	return context.WithValue(ctx, acquiringKey{t}, &acquiring{span: span, caller: caller, once: start.MaxWait < 0})
}

// end ends it.
func (t *Tracer) end(ctx context.Context, end lease.AcquireEnd) {
	a, is := ctx.Value(acquiringKey{t}).(*acquiring)
	if !is {
		return
	}
	defer a.span.End()
	var before trace.SpanContext
	if end.Outcome == lease.OutcomeHandedOver || end.Outcome == lease.OutcomeReused {
		before = t.freed.take(end.Lease)
	}
	if !a.span.IsRecording() {
		return
	}
	if before.IsValid() {
		a.span.AddLink(trace.Link{SpanContext: before})
	}
	if !end.Queued.IsZero() {
		a.span.AddEvent("queued", trace.WithTimestamp(end.Queued), trace.WithAttributes(keyPlace.Int(end.Place)))
	}
	a.span.SetAttributes(attribute.String(telemetry.Outcome, telemetry.Outcomes[end.Outcome]), keyWaited.Float64(end.Waited.Seconds()))
	if end.Err == nil {
		a.span.AddEvent("granted", trace.WithTimestamp(end.Lease.Began))
		a.span.SetAttributes(keyID.String(end.Lease.ID), keyToken.Int64(end.Lease.Token))
		return
	}
	switch end.Outcome {
	case lease.OutcomeCanceled: // the caller wanted it so
	case lease.OutcomeFailed:
		fail(a.span, telemetry.TypeOf(end.Err), end.Err)
	default:
		if end.Outcome != lease.OutcomeAtCapacity || !a.once {
			fail(a.span, telemetry.Outcomes[end.Outcome], end.Err)
		}
	}
}

// hold writes the span of a lease that has ended.
func (t *Tracer) hold(ctx context.Context, s *semaphore, end lease.LeaseEnd) {
	a, is := ctx.Value(acquiringKey{t}).(*acquiring)
	if !is {
		return
	}
	acquired := a.span.SpanContext()
	parent := a.caller
	if !parent.IsValid() {
		parent = acquired // so that both are in one trace
	}
	l := end.Lease
	_, span := t.tracer.Start(trace.ContextWithSpanContext(ctx, parent), s.hold, trace.WithTimestamp(l.Began), trace.WithLinks(trace.Link{SpanContext: acquired}))
	defer span.End(trace.WithTimestamp(l.Began.Add(end.Held)))
	if end.Reason == lease.EndReleased {
		t.freed.put(l, span.SpanContext())
	}
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(attribute.String(telemetry.Semaphore, l.Name), keyWeight.Int(l.Weight), keyID.String(l.ID), keyToken.Int64(l.Token),
		attribute.String(telemetry.End, telemetry.Ends[end.Reason]), keyHeld.Float64(end.Held.Seconds()))
	if l.Label != "" {
		span.SetAttributes(keyLabel.String(l.Label))
	}
	if end.Reason != lease.EndReleased {
		if end.Reason == lease.EndLost {
			span.SetAttributes(attribute.String(telemetry.Reason, telemetry.Losses[telemetry.LossOf(end.Err)]))
		}
		fail(span, telemetry.Ends[end.Reason], end.Err)
	}
}

func fail(span trace.Span, kind string, err error) {
	span.SetStatus(codes.Error, err.Error())
	span.SetAttributes(attribute.String(telemetry.ErrorType, kind))
}
