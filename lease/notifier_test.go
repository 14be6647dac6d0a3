package lease

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/eqworks/passbuddy/internal/protocol"
)

// A countingTracer counts what it is told, and hangs at first.
type countingTracer struct {
	NopTracer
	hang          chan struct{}
	renewals      int
	leases, lost  int            // ends that it was told of, and that it was not
	permits, left int            // likewise
	calls         int            // that were left out
	of            map[string]int // likewise, by semaphore
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
	t.of[d.Name] += d.Calls
}

// What a tracer is not told while it hangs is bounded, and counted.
func TestWhatATracerIsNotToldIsCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tracer := &countingTracer{hang: make(chan struct{}), of: map[string]int{}}
		n := notifier{tracer: tracer}
		n.addEvents("gpu", []protocol.Event{{Kind: protocol.EventRenewed}})
		synctest.Wait()
		const ends, renewals = maxPendingCalls + 500, 300
		for range ends {
			n.add(call{ctx: t.Context(), end: &LeaseEnd{Lease: LeaseInfo{Name: "cpu", Weight: 3}}})
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
		if tracer.of["cpu"] != ends-maxPendingCalls || tracer.of["gpu"] != renewals || len(tracer.of) != 2 {
			t.Errorf("by semaphore, it was not told %v calls", tracer.of)
		}
		n.addEvents("gpu", []protocol.Event{{Kind: protocol.EventRenewed}})
		synctest.Wait()
		if tracer.renewals != 2 {
			t.Error("afterwards, the tracer is told nothing")
		}
	})
}

// So are the semaphores that it is told apart by.
func TestTheSemaphoresThatATracerIsNotToldOfAreBounded(t *testing.T) {
	var n notifier
	for i := range maxPendingCalls + 7 {
		n.dropLocked(call{name: fmt.Sprint("tenant", i)})
	}
	n.dropLocked(call{name: "tenant0"})
	if len(n.dropped) != maxPendingCalls+1 || n.dropped[""].Calls != 7 || n.dropped["tenant0"].Calls != 2 {
		t.Errorf("%d semaphores, %+v of the others, %+v of the first", len(n.dropped), n.dropped[""], n.dropped["tenant0"])
	}
}
