package leaseotel

import (
	"sync"

	"go.opentelemetry.io/otel/trace"

	"github.com/eqworks/passbuddy/lease"
)

// maxFreed is how many permits are remembered after their release: those that a caller of this process may get next.
const maxFreed = 1024

// freed remembers which hold had a permit last. A permit that is handed over or lingers keeps its id, so that the next
// lease tells by its id whose it was. Most permits go back to Redis, and nobody asks for them: the oldest make room.
// Safe for concurrent use.
type freed struct {
	mu    sync.Mutex
	holds map[permitID]trace.SpanContext
	order [maxFreed]permitID
	next  int
}

type permitID struct{ semaphore, id string }

// put remembers the hold of a lease that is being released. It is called before the permit goes on.
func (f *freed) put(l lease.LeaseInfo, hold trace.SpanContext) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id := permitID{l.Name, l.ID}
	_, known := f.holds[id]
	if !hold.IsSampled() {
		if known { // whoever had it before is not the last any more
			f.holds[id] = trace.SpanContext{}
		}
		return
	}
	if f.holds == nil {
		f.holds = make(map[permitID]trace.SpanContext, maxFreed)
	}
	if !known {
		delete(f.holds, f.order[f.next])
		f.order[f.next] = id
		f.next = (f.next + 1) % maxFreed
	}
	f.holds[id] = hold
}

// take returns the hold that had the permit of a new lease before; none where that is not known.
func (f *freed) take(l lease.LeaseInfo) trace.SpanContext {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.holds[permitID{l.Name, l.ID}]
}
