package leaseotel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/eqworks/passbuddy/internal/telemetry"
	"github.com/eqworks/passbuddy/lease"
)

// scope is the name of the instrumentation scope of all metrics and spans.
const scope = "github.com/eqworks/passbuddy/extra/leaseotel"

// Options are a tracer's. The zero value works.
type Options struct {
	// MeterProvider is where the metrics go. otel.GetMeterProvider() by default.
	MeterProvider metric.MeterProvider
	// TracerProvider is where the spans go. otel.GetTracerProvider() by default.
	TracerProvider trace.TracerProvider
	// Names maps the name of a semaphore to the value of the attribute passbuddy.semaphore of metrics, and to the name in the
	// names of spans. It is for names that have a part without bound, such as a tenant. It must return the same each time,
	// and few different values: each has series of its own. By default the first 100 names stand for themselves, and all
	// others are "_other".
	Names func(string) string
}

// A Tracer makes metrics and spans of what the managers do that have it in lease.Options.Tracers. Several managers may
// share one. Safe for concurrent use.
type Tracer struct {
	lease.NopTracer

	tracer trace.Tracer
	names  *telemetry.ByName[semaphore]
	freed  freed

	acquires, leases, slack          metric.Float64Histogram
	count, usage, waiters            metric.Int64UpDownCounter
	renewalFailures, releaseFailures metric.Int64Counter
	losses, disagreements, dropped   metric.Int64Counter
}

// A semaphore has the attributes of one name, made once.
type semaphore struct {
	name          string
	acquire, hold string // names of spans
	self          []metric.AddOption
	selfRecord    []metric.RecordOption
	outcomes      [len(telemetry.Outcomes)][]metric.RecordOption
	ends          [len(telemetry.Ends)][]metric.RecordOption
	losses        [len(telemetry.Losses)][]metric.AddOption
}

// New returns a tracer, to be given to a manager. It fails where the MeterProvider refuses an instrument.
func New(opts Options) (*Tracer, error) {
	if opts.MeterProvider == nil {
		opts.MeterProvider = otel.GetMeterProvider()
	}
	if opts.TracerProvider == nil {
		opts.TracerProvider = otel.GetTracerProvider()
	}
	t := &Tracer{tracer: opts.TracerProvider.Tracer(scope)}
	t.names = telemetry.NewByName(opts.Names, t.semaphore)
	m := maker{meter: opts.MeterProvider.Meter(scope)}
	t.acquires = m.histogram(telemetry.AcquireDuration)
	t.leases = m.histogram(telemetry.LeaseDuration)
	t.slack = m.histogram(telemetry.RenewalSlack)
	t.count = m.upDown(telemetry.LeaseCount)
	t.usage = m.upDown(telemetry.PermitUsage)
	t.waiters = m.upDown(telemetry.WaiterCount)
	t.renewalFailures = m.counter(telemetry.RenewalFailures)
	t.releaseFailures = m.counter(telemetry.ReleaseFailures)
	t.losses = m.counter(telemetry.LeaseLosses)
	t.disagreements = m.counter(telemetry.Disagreements)
	t.dropped = m.counter(telemetry.TelemetryDropped)
	if m.err != nil {
		return nil, m.err
	}
	return t, nil
}

// A maker makes instruments, and keeps the errors.
type maker struct {
	meter metric.Meter
	err   error
}

func (m *maker) histogram(i *telemetry.Instrument) metric.Float64Histogram {
	h, err := m.meter.Float64Histogram(i.Name, metric.WithUnit(i.Unit), metric.WithDescription(i.Help), metric.WithExplicitBucketBoundaries(i.Buckets...))
	m.err = errors.Join(m.err, err)
	return h
}

func (m *maker) upDown(i *telemetry.Instrument) metric.Int64UpDownCounter {
	c, err := m.meter.Int64UpDownCounter(i.Name, metric.WithUnit(i.Unit), metric.WithDescription(i.Help))
	m.err = errors.Join(m.err, err)
	return c
}

func (m *maker) counter(i *telemetry.Instrument) metric.Int64Counter {
	c, err := m.meter.Int64Counter(i.Name, metric.WithUnit(i.Unit), metric.WithDescription(i.Help))
	m.err = errors.Join(m.err, err)
	return c
}

// semaphore makes the attributes of a name. Counters begin with 0: a series that begins with 1 is no increase to
// Prometheus, and an alert would miss the first failure.
func (t *Tracer) semaphore(name string) *semaphore {
	s := &semaphore{name: name, acquire: "acquire " + name, hold: "hold " + name}
	s.self, s.selfRecord = s.add(), s.record()
	for o, value := range telemetry.Outcomes {
		s.outcomes[o] = s.record(attribute.String(telemetry.Outcome, value))
	}
	for e, value := range telemetry.Ends {
		s.ends[e] = s.record(attribute.String(telemetry.End, value))
	}
	ctx := context.Background()
	for r, value := range telemetry.Losses {
		s.losses[r] = s.add(attribute.String(telemetry.Reason, value))
		t.losses.Add(ctx, 0, s.losses[r]...)
	}
	for _, kind := range telemetry.RedisErrorTypes {
		t.renewalFailures.Add(ctx, 0, s.add(attribute.String(telemetry.ErrorType, kind))...)
		t.releaseFailures.Add(ctx, 0, s.add(attribute.String(telemetry.ErrorType, kind))...)
	}
	t.disagreements.Add(ctx, 0, s.self...)
	t.dropped.Add(ctx, 0, s.self...)
	for _, gauge := range []metric.Int64UpDownCounter{t.count, t.usage, t.waiters} {
		gauge.Add(ctx, 0, s.self...)
	}
	return s
}

func (s *semaphore) attributes(more []attribute.KeyValue) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(append(more, attribute.String(telemetry.Semaphore, s.name))...))
}

func (s *semaphore) add(more ...attribute.KeyValue) []metric.AddOption {
	return []metric.AddOption{s.attributes(more)}
}

func (s *semaphore) record(more ...attribute.KeyValue) []metric.RecordOption {
	return []metric.RecordOption{s.attributes(more)}
}

// TraceAcquireStart is lease.Tracer's. It begins the span of the acquire.
func (t *Tracer) TraceAcquireStart(ctx context.Context, start lease.AcquireStart) context.Context {
	s := t.names.Of(start.Name)
	t.waiters.Add(ctx, 1, s.self...)
	return t.begin(ctx, s, start)
}

// TraceAcquireEnd is lease.Tracer's. It ends the span of the acquire.
func (t *Tracer) TraceAcquireEnd(ctx context.Context, end lease.AcquireEnd) {
	s := t.names.Of(end.Name)
	t.waiters.Add(ctx, -1, s.self...)
	if end.Err == nil {
		t.count.Add(ctx, 1, s.self...)
		t.usage.Add(ctx, int64(end.Weight), s.self...)
	}
	attributes := s.outcomes[end.Outcome]
	if end.Outcome == lease.OutcomeFailed {
		attributes = s.record(attribute.String(telemetry.Outcome, telemetry.Outcomes[end.Outcome]), attribute.String(telemetry.ErrorType, telemetry.TypeOf(end.Err)))
	}
	t.acquires.Record(ctx, end.Waited.Seconds(), attributes...)
	t.end(ctx, end)
}

// TraceLeaseEnd is lease.Tracer's. It writes the span of the hold.
func (t *Tracer) TraceLeaseEnd(ctx context.Context, end lease.LeaseEnd) {
	s := t.names.Of(end.Lease.Name)
	t.count.Add(ctx, -1, s.self...)
	t.usage.Add(ctx, -int64(end.Lease.Weight), s.self...)
	t.leases.Record(ctx, end.Held.Seconds(), s.ends[end.Reason]...)
	if end.Reason == lease.EndLost {
		t.losses.Add(ctx, 1, s.losses[telemetry.LossOf(end.Err)]...)
	}
	t.hold(ctx, s, end)
}

// TraceReleaseEnd is lease.Tracer's.
func (t *Tracer) TraceReleaseEnd(ctx context.Context, end lease.ReleaseEnd) {
	if telemetry.IsReleaseFailure(end.Err) {
		t.releaseFailures.Add(ctx, 1, t.names.Of(end.Lease.Name).add(attribute.String(telemetry.ErrorType, telemetry.TypeOf(end.Err)))...)
	}
}

// TraceRenewal is lease.Tracer's.
func (t *Tracer) TraceRenewal(r lease.Renewal) {
	s, ctx := t.names.Of(r.Name), context.Background()
	if r.Err != nil {
		t.renewalFailures.Add(ctx, 1, s.add(attribute.String(telemetry.ErrorType, telemetry.TypeOf(r.Err)))...)
		return
	}
	t.slack.Record(ctx, telemetry.SlackOf(r), s.selfRecord...)
}

// TraceDisagreement is lease.Tracer's.
func (t *Tracer) TraceDisagreement(d lease.Disagreement) {
	t.disagreements.Add(context.Background(), 1, t.names.Of(d.Name).self...)
}

// TraceDropped is lease.Tracer's. It takes from the gauges the leases whose ends were left out.
func (t *Tracer) TraceDropped(d lease.Dropped) {
	s, ctx := t.names.Of(d.Name), context.Background()
	t.count.Add(ctx, -int64(d.Leases), s.self...)
	t.usage.Add(ctx, -int64(d.Permits), s.self...)
	t.dropped.Add(ctx, int64(d.Calls), s.self...)
}
