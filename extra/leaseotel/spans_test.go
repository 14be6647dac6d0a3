package leaseotel_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/eqworks/passbuddy/extra/leaseotel"
	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/internal/telemetry/telemetrytest"
	"github.com/eqworks/passbuddy/lease"
)

// A traced has a tracer, and the spans that it has ended.
type traced struct {
	*leaseotel.Tracer
	t        *testing.T
	provider *sdktrace.TracerProvider
	recorder *tracetest.SpanRecorder
}

func newTraced(t *testing.T) *traced {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	tracer, err := leaseotel.New(leaseotel.Options{TracerProvider: provider})
	if err != nil {
		t.Fatal(err)
	}
	return &traced{tracer, t, provider, recorder}
}

// spans are those that have ended, of a name.
func (tr *traced) spans(name string) (found []sdktrace.ReadOnlySpan) {
	for _, s := range tr.recorder.Ended() {
		if s.Name() == name {
			found = append(found, s)
		}
	}
	return found
}

// span waits for the nth of a name, from 0: what no caller waits for is told in the background.
func (tr *traced) span(name string, n int) sdktrace.ReadOnlySpan {
	tr.t.Helper()
	redistest.Eventually(tr.t, "there is a span "+name, func(context.Context) error {
		if len(tr.spans(name)) <= n {
			return errors.New("there is none")
		}
		return nil
	})
	return tr.spans(name)[n]
}

func attributeOf(s sdktrace.ReadOnlySpan, key string) any {
	for _, a := range s.Attributes() {
		if a.Key == attribute.Key(key) {
			return a.Value.AsInterface()
		}
	}
	return nil
}

func (tr *traced) mustFail(s sdktrace.ReadOnlySpan, kind any) {
	tr.t.Helper()
	want := codes.Error
	if kind == nil {
		want = codes.Unset
	}
	if s.Status().Code != want || attributeOf(s, "error.type") != kind {
		tr.t.Errorf("%s has status %v and error.type %v, want %v and %v", s.Name(), s.Status(), attributeOf(s, "error.type"), want, kind)
	}
}

func semaphore(t testing.TB, m *lease.Manager, cfg lease.Config) *lease.Semaphore {
	t.Helper()
	s, err := m.Semaphore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAnAcquireAndItsHoldAreSpansOfTheCallersTrace(t *testing.T) {
	tr := newTraced(t)
	m := telemetrytest.Open(t, redistest.Start(t).Addr(), tr)
	gpu := semaphore(t, m, lease.Config{Name: "gpu", Capacity: 2})
	ctx, caller := tr.provider.Tracer("test").Start(t.Context(), "request")
	l, err := gpu.Acquire(ctx, lease.Weight(2), lease.Label("train"))
	if err != nil {
		t.Fatal(err)
	}
	acquired := tr.span("acquire gpu", 0)
	if n := len(tr.spans("hold gpu")); n > 0 {
		t.Errorf("%d holds are written while the lease lives", n)
	}
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	hold := tr.span("hold gpu", 0)
	for _, s := range []sdktrace.ReadOnlySpan{acquired, hold} {
		if s.Parent().SpanID() != caller.SpanContext().SpanID() || s.SpanKind() != trace.SpanKindInternal {
			t.Errorf("%s has the parent %v and is of kind %v", s.Name(), s.Parent().SpanID(), s.SpanKind())
		}
		tr.mustFail(s, nil)
		for key, want := range map[string]any{"passbuddy.semaphore": "gpu", "passbuddy.weight": int64(2), "passbuddy.label": "train",
			"passbuddy.lease.id": l.ID(), "passbuddy.lease.token": l.Token()} {
			if got := attributeOf(s, key); got != want {
				t.Errorf("%s: %s is %v, want %v", s.Name(), key, got, want)
			}
		}
	}
	if got := attributeOf(acquired, "passbuddy.outcome"); got != "granted" || len(acquired.Events()) != 1 || acquired.Events()[0].Name != "granted" {
		t.Errorf("outcome %v, events %v", got, acquired.Events())
	}
	if got := attributeOf(hold, "passbuddy.end"); got != "released" {
		t.Errorf("end %v", got)
	}
	if links := hold.Links(); len(links) != 1 || links[0].SpanContext.SpanID() != acquired.SpanContext().SpanID() {
		t.Errorf("the hold has the links %v", links)
	}
	if hold.StartTime().After(acquired.EndTime()) || hold.EndTime().Before(acquired.EndTime()) {
		t.Errorf("the acquire ended at %v, the hold lasts from %v to %v", acquired.EndTime(), hold.StartTime(), hold.EndTime())
	}
}

func TestAHoldWithoutACallersSpanIsInTheTraceOfItsAcquire(t *testing.T) {
	tr := newTraced(t)
	m := telemetrytest.Open(t, redistest.Start(t).Addr(), tr)
	if err := semaphore(t, m, lease.Config{Name: "gpu", Capacity: 2}).Do(t.Context(), func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if acquired, hold := tr.span("acquire gpu", 0), tr.span("hold gpu", 0); hold.Parent().SpanID() != acquired.SpanContext().SpanID() {
		t.Errorf("the hold has the parent %v, the acquire is %v", hold.Parent(), acquired.SpanContext())
	}
}

// Inside a process the acquire that gets a permit is linked to the hold that had it.
func TestAnAcquireIsLinkedToTheHoldThatFreedItsPermit(t *testing.T) {
	for name, cfg := range map[string]lease.Config{
		"handed_over": {Handover: time.Minute},
		"lingered":    {Linger: 5 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTraced(t)
			m := telemetrytest.Open(t, redistest.Start(t).Addr(), tr)
			cfg.Name, cfg.Capacity = "gpu", 1
			gpu := semaphore(t, m, cfg)
			first, err := gpu.Acquire(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			next := make(chan error, 1)
			acquire := func() {
				l, err := gpu.Acquire(t.Context())
				if err == nil {
					err = l.Release()
				}
				next <- err
			}
			if name == "handed_over" {
				go acquire()
				redistest.Eventually(t, "it waits", func(ctx context.Context) error {
					state, err := gpu.Inspect(ctx)
					if err == nil && len(state.Waiters) == 0 {
						err = errors.New("nobody waits")
					}
					return err
				})
			}
			if err := first.Release(); err != nil {
				t.Fatal(err)
			}
			if name == "lingered" {
				acquire()
			}
			if err := <-next; err != nil {
				t.Fatal(err)
			}
			acquired := tr.span("acquire gpu", 1)
			if got := attributeOf(acquired, "passbuddy.outcome"); got != name {
				t.Fatalf("the second was %v", got)
			}
			if links := acquired.Links(); len(links) != 1 || links[0].SpanContext.SpanID() != tr.span("hold gpu", 0).SpanContext().SpanID() {
				t.Errorf("the acquire has the links %v", links)
			}
			if name == "handed_over" {
				if e := acquired.Events(); len(e) != 2 || e[0].Name != "queued" || e[1].Name != "granted" || e[0].Time.After(e[1].Time) {
					t.Errorf("its events are %v", e)
				}
			}
		})
	}
}

func TestTheStatusOfASpanIsAnErrorOnlyWhereSomethingFailed(t *testing.T) {
	tr := newTraced(t)
	m := telemetrytest.Open(t, redistest.Start(t).Addr(), tr)
	gpu := semaphore(t, m, lease.Config{Name: "gpu", Capacity: 2})
	l, err := gpu.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for n, acquire := range []struct {
		ctx  context.Context
		opts []lease.AcquireOption
		kind any
	}{
		{t.Context(), []lease.AcquireOption{lease.Weight(2), lease.MaxWait(-1)}, nil},
		{canceled, nil, nil},
		{t.Context(), []lease.AcquireOption{lease.Weight(2), lease.MaxWait(time.Millisecond)}, "at_capacity"},
		{l.Context(), []lease.AcquireOption{lease.Weight(2)}, "deadlock"},
	} {
		if _, err := gpu.Acquire(acquire.ctx, acquire.opts...); err == nil {
			t.Fatal("it got a lease")
		}
		tr.mustFail(tr.span("acquire gpu", n+1), acquire.kind)
	}
	if err := m.Revoke(t.Context(), "gpu", l.ID()); err != nil {
		t.Fatal(err)
	}
	hold := tr.span("hold gpu", 0)
	tr.mustFail(hold, "lost")
	if got := attributeOf(hold, "passbuddy.reason"); got != "revoked" {
		t.Errorf("the reason is %v", got)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	_, _ = gpu.Acquire(t.Context())
	tr.mustFail(tr.span("acquire gpu", 5), "closed")
}
