package stats

import "sync/atomic"

// A Watch sees, at every instant, whether more callers hold a permit than there are, among processes too:
// its words may lie in memory that they share. A caller is inside from just after its acquire returned
// until just before it calls release, so that more callers inside than permits means more holders than
// permits. Safe for concurrent use.
type Watch struct {
	Capacity int64
	Inside   *atomic.Int64
	Last     *atomic.Int64 // who came in last
	Most     *atomic.Int64 // the most that were inside at once while it counts
	// Counts reports whether it still matters: at the end of a measurement, permits may go back before
	// their holders know.
	Counts func() bool
}

// Enter notes that caller has a permit, and returns who came in before it. Callers are numbered from 1.
func (w *Watch) Enter(caller int64) (before int64) {
	n := w.Inside.Add(1)
	if n > w.Most.Load() && w.Counts() {
		for most := w.Most.Load(); n > most && !w.Most.CompareAndSwap(most, n); most = w.Most.Load() {
		}
	}
	return w.Last.Swap(caller)
}

// Leave notes that a caller is about to release.
func (w *Watch) Leave() { w.Inside.Add(-1) }

// Violated reports whether there were more inside than permits at any instant.
func (w *Watch) Violated() bool { return w.Most.Load() > w.Capacity }
