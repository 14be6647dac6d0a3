package main

const tracing = "lease/tracing.go"

// What tracers are told.
var tracerMutants = []mutant{
	unit("a lease that ends before its tracer knows of it never ends", "EndsBefore",
		edit{tracing, "	if reason != nil {\n		h.traceEnd", "	if reason != nil && false {\n		h.traceEnd"}),
	unit("a lease ends as often as somebody ends it", "GaugesOf",
		edit{"lease/lease.go", "traced := first && h.trace != nil", "traced := h.trace != nil"}),
	unit("a release that nobody waits for never ends", "GaugesOf",
		edit{"internal/protocol/releasing.go", "		s.happened(Event{Kind: EventReleased, Holding: h})\n", ""}),
	unit("what a tracer is not told is kept without bound", "IsNotTold",
		edit{tracing, "	if len(n.pending) >= maxPendingCalls {", "	if len(n.pending) >= 1000*maxPendingCalls {"}),
	unit("what a tracer is not told is not counted", "IsNotTold",
		edit{tracing, "		d.Permits += c.end.Lease.Weight\n", ""}),
	unit("what a tracer is not told is not told apart by semaphore", "IsNotTold",
		edit{tracing, "		name = c.end.Lease.Name\n", ""}),
	unit("the background waits for a tracer", "ThatHangs",
		edit{tracing, "		go n.run()\n", "		n.mu.Unlock()\n		n.run()\n		n.mu.Lock()\n"}),
	unit("the contexts of tracers are mixed up", "SeveralTracers|ALeasesLife",
		edit{tracing, "	t.releasing = tracer.TraceReleaseStart(t.ctx,", "	t.releasing = tracer.TraceReleaseStart(context.Background(),"}),
	unit("a permit that was handed over came from Redis", "ALeasesLife",
		edit{tracing, "			end.Outcome = OutcomeHandedOver\n", ""}),
	state("a renewal of nothing is reported", "Stories/a_renewal_that_is_answered_after_its_window_renews_nothing",
		edit{"internal/protocol/renewing.go", "held > len(lost)", "held >= 0"}),
	unit("events are recorded for nobody", "ThatIsNotThere",
		edit{"lease/manager.go", "d.state.Watched = m.tracer != nil", "d.state.Watched = true"}),
}
