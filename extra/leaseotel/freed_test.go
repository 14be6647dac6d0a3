package leaseotel

import (
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/eqworks/passbuddy/lease"
)

// A hold that is not sampled comes between: the next acquire has no link to the one before it.
func TestAnAcquireIsNotLinkedPastAHoldThatIsNotSampled(t *testing.T) {
	var f freed
	l := lease.LeaseInfo{Name: "gpu", ID: "1"}
	sampled := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled})
	f.put(l, sampled)
	if got := f.take(l); !got.Equal(sampled) {
		t.Errorf("the hold before is %v", got)
	}
	f.put(l, sampled.WithTraceFlags(0))
	if got := f.take(l); got.IsValid() {
		t.Errorf("a hold that is not sampled is followed by a link to %v", got)
	}
}
