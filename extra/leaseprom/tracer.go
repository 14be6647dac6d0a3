package leaseprom

import (
	"context"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eqworks/passbuddy/internal/telemetry"
	"github.com/eqworks/passbuddy/lease"
)

// Options are a tracer's. The zero value works.
type Options struct {
	// Names maps the name of a semaphore to the value of the label passbuddy_semaphore. It is for names that have a part
	// without bound, such as a tenant. It must return the same each time, and few different values: each has series of its
	// own. By default the first 100 names stand for themselves, and all others are "_other".
	Names func(string) string
}

// A Tracer counts what the managers do that have it in lease.Options.Tracers, and is a prometheus.Collector of that.
// Several managers may share one. Safe for concurrent use.
type Tracer struct {
	lease.NopTracer

	names *telemetry.ByName[semaphore]

	acquires, leases, slack          *prometheus.HistogramVec
	count, usage, waiters            *prometheus.GaugeVec
	renewalFailures, releaseFailures *prometheus.CounterVec
	losses, disagreements, dropped   *prometheus.CounterVec
	collectors                       []prometheus.Collector
}

// A semaphore has the series of one name. They are looked up once.
type semaphore struct {
	name     string
	acquires [len(telemetry.Outcomes)]observer // all but that of OutcomeFailed
	leases   [len(telemetry.Ends)]observer
	slack    observer

	count, usage, waiters  prometheus.Gauge
	losses                 [len(telemetry.Losses)]prometheus.Counter
	disagreements, dropped prometheus.Counter
}

// An observer is a histogram that is made when something is first observed: each has a series for each bucket.
type observer struct {
	vec    *prometheus.HistogramVec
	labels []string
	made   atomic.Pointer[prometheus.Observer]
}

func (o *observer) of(vec *prometheus.HistogramVec, labels ...string) { o.vec, o.labels = vec, labels }

func (o *observer) observe(value float64) {
	made := o.made.Load()
	if made == nil {
		one := o.vec.WithLabelValues(o.labels...)
		made = &one
		o.made.Store(made)
	}
	(*made).Observe(value)
}

// New returns a tracer. Register it with a registry, and give it to a manager.
func New(opts Options) *Tracer {
	t := &Tracer{}
	t.names = telemetry.NewByName(opts.Names, t.semaphore)
	t.acquires = t.histogram(telemetry.AcquireDuration, telemetry.Outcome, telemetry.ErrorType)
	t.leases = t.histogram(telemetry.LeaseDuration, telemetry.End)
	t.slack = t.histogram(telemetry.RenewalSlack)
	t.count = t.gauge(telemetry.LeaseCount)
	t.usage = t.gauge(telemetry.PermitUsage)
	t.waiters = t.gauge(telemetry.WaiterCount)
	t.renewalFailures = t.counter(telemetry.RenewalFailures, telemetry.ErrorType)
	t.releaseFailures = t.counter(telemetry.ReleaseFailures, telemetry.ErrorType)
	t.losses = t.counter(telemetry.LeaseLosses, telemetry.Reason)
	t.disagreements = t.counter(telemetry.Disagreements)
	t.dropped = t.counter(telemetry.TelemetryDropped)
	return t
}

func (t *Tracer) histogram(i *telemetry.Instrument, attributes ...string) *prometheus.HistogramVec {
	vec := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: i.PrometheusName(), Help: i.Help, Buckets: i.Buckets}, labels(attributes))
	t.collectors = append(t.collectors, vec)
	return vec
}

func (t *Tracer) gauge(i *telemetry.Instrument) *prometheus.GaugeVec {
	vec := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: i.PrometheusName(), Help: i.Help}, labels(nil))
	t.collectors = append(t.collectors, vec)
	return vec
}

func (t *Tracer) counter(i *telemetry.Instrument, attributes ...string) *prometheus.CounterVec {
	vec := prometheus.NewCounterVec(prometheus.CounterOpts{Name: i.PrometheusName(), Help: i.Help}, labels(attributes))
	t.collectors = append(t.collectors, vec)
	return vec
}

// semaphore makes the series of a name. Counters begin with 0: a series that begins with 1 is no increase to Prometheus,
// and an alert would miss the first failure.
func (t *Tracer) semaphore(name string) *semaphore {
	s := &semaphore{
		name:  name,
		count: t.count.WithLabelValues(name), usage: t.usage.WithLabelValues(name), waiters: t.waiters.WithLabelValues(name),
		disagreements: t.disagreements.WithLabelValues(name), dropped: t.dropped.WithLabelValues(name),
	}
	s.slack.of(t.slack, name)
	for o, value := range telemetry.Outcomes {
		if lease.Outcome(o) != lease.OutcomeFailed {
			s.acquires[o].of(t.acquires, name, value, "")
		}
	}
	for e, value := range telemetry.Ends {
		s.leases[e].of(t.leases, name, value)
	}
	for r, value := range telemetry.Losses {
		s.losses[r] = t.losses.WithLabelValues(name, value)
	}
	for _, kind := range telemetry.RedisErrorTypes {
		t.renewalFailures.WithLabelValues(name, kind)
		t.releaseFailures.WithLabelValues(name, kind)
	}
	return s
}

// Describe is prometheus.Collector's.
func (t *Tracer) Describe(to chan<- *prometheus.Desc) {
	for _, c := range t.collectors {
		c.Describe(to)
	}
}

// Collect is prometheus.Collector's.
func (t *Tracer) Collect(to chan<- prometheus.Metric) {
	for _, c := range t.collectors {
		c.Collect(to)
	}
}

// TraceAcquireStart is lease.Tracer's.
func (t *Tracer) TraceAcquireStart(ctx context.Context, start lease.AcquireStart) context.Context {
	t.names.Of(start.Name).waiters.Inc()
	return ctx
}

// TraceAcquireEnd is lease.Tracer's.
func (t *Tracer) TraceAcquireEnd(_ context.Context, end lease.AcquireEnd) {
	s := t.names.Of(end.Name)
	s.waiters.Dec()
	if end.Err == nil {
		s.count.Inc()
		s.usage.Add(float64(end.Weight))
	}
	if end.Outcome == lease.OutcomeFailed {
		t.acquires.WithLabelValues(s.name, telemetry.Outcomes[end.Outcome], telemetry.TypeOf(end.Err)).Observe(end.Waited.Seconds())
		return
	}
	s.acquires[end.Outcome].observe(end.Waited.Seconds())
}

// TraceLeaseEnd is lease.Tracer's.
func (t *Tracer) TraceLeaseEnd(_ context.Context, end lease.LeaseEnd) {
	s := t.names.Of(end.Lease.Name)
	s.count.Dec()
	s.usage.Sub(float64(end.Lease.Weight))
	s.leases[end.Reason].observe(end.Held.Seconds())
	if end.Reason == lease.EndLost {
		s.losses[telemetry.LossOf(end.Err)].Inc()
	}
}

// TraceReleaseEnd is lease.Tracer's.
func (t *Tracer) TraceReleaseEnd(_ context.Context, end lease.ReleaseEnd) {
	if telemetry.IsReleaseFailure(end.Err) {
		t.releaseFailures.WithLabelValues(t.names.Of(end.Lease.Name).name, telemetry.TypeOf(end.Err)).Inc()
	}
}

// TraceRenewal is lease.Tracer's.
func (t *Tracer) TraceRenewal(r lease.Renewal) {
	s := t.names.Of(r.Name)
	if r.Err != nil {
		t.renewalFailures.WithLabelValues(s.name, telemetry.TypeOf(r.Err)).Inc()
		return
	}
	s.slack.observe(telemetry.SlackOf(r))
}

// TraceDisagreement is lease.Tracer's.
func (t *Tracer) TraceDisagreement(d lease.Disagreement) { t.names.Of(d.Name).disagreements.Inc() }

// TraceDropped is lease.Tracer's. It takes from the gauges the leases whose ends were left out.
func (t *Tracer) TraceDropped(d lease.Dropped) {
	s := t.names.Of(d.Name)
	s.count.Sub(float64(d.Leases))
	s.usage.Sub(float64(d.Permits))
	s.dropped.Add(float64(d.Calls))
}

// labels are those of attributes, after the one that says which semaphore it is.
func labels(attributes []string) []string {
	names := []string{telemetry.LabelOf(telemetry.Semaphore)}
	for _, a := range attributes {
		names = append(names, telemetry.LabelOf(a))
	}
	return names
}
