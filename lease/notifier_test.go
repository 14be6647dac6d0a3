package lease

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/eqworks/passbuddy/internal/protocol"
)

// A countingTracer counts what it is told, and hangs at first.
type countingTracer struct {
	NopTracer
	hang          chan struct{}
	renewals      int
	leases, lost  int // ends that it was told of, and that it was not
	permits, left int // likewise
	calls         int // that were left out
}

func (t *countingTracer) TraceRenewal(Renewal) { <-t.hang; t.renewals++ }

func (t *countingTracer) TraceLeaseEnd(_ context.Context, end LeaseEnd) {
	t.leases++
	t.permits += end.Lease.Weight
}

func (t *countingTracer) TraceDropped(d Dropped) {
	t.calls += d.Calls
	t.lost += d.Leases
	t.left += d.Permits
}

// What a tracer is not told while it hangs is bounded, and counted.
func TestWhatATracerIsNotToldIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracer := &countingTracer{hang: make(chan struct{})}
		n := notifier{tracer: tracer}
		n.addEvents("gpu", []protocol.Event{{Kind: protocol.EventRenewed}})
		synctest.Wait()
		const ends, renewals = maxPendingCalls + 500, 300
		for range ends {
			n.add(call{ctx: t.Context(), end: &LeaseEnd{Lease: LeaseInfo{Weight: 3}}})
		}
		for range renewals {
			n.addEvents("gpu", []protocol.Event{{Kind: protocol.EventRenewed}})
		}
		if len(n.pending) != maxPendingCalls {
			t.Errorf("%d calls are kept", len(n.pending))
		}
		close(tracer.hang)
		synctest.Wait()
		if tracer.renewals != 1 || tracer.leases != maxPendingCalls || tracer.lost != ends-maxPendingCalls || tracer.calls != ends+renewals-maxPendingCalls ||
			tracer.permits+tracer.left != 3*ends {
			t.Errorf("%+v", tracer)
		}
		n.addEvents("gpu", []protocol.Event{{Kind: protocol.EventRenewed}})
		synctest.Wait()
		if tracer.renewals != 2 {
			t.Error("afterwards, the tracer is told nothing")
		}
	})
}
