package protocol

import "testing"

// The state makes no event when nobody listens.
func TestStateSpendsNothingOnEventsThatNobodyListensTo(t *testing.T) {
	s := newStateTest(t, 1)
	if n := testing.AllocsPerRun(100, func() { s.happened(Event{Kind: EventRenewalFailed, Err: errNet}) }); n != 0 || s.effects != nil {
		t.Errorf("%v allocations, %v", n, s.effects)
	}
}

// BenchmarkEventsUnused measures an event that nobody listens to.
func BenchmarkEventsUnused(b *testing.B) {
	s := New(&Config{}, 1, nil, nil)
	b.ReportAllocs()
	for b.Loop() {
		s.happened(Event{Kind: EventRenewalFailed})
	}
}
