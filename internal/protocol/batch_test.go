package protocol

import (
	"testing"
	"time"
)

// A script's loops and its stack are bounded by the ids of one call.
func TestStateSplitsLongLists(t *testing.T) {
	s := newStateTest(t, 1200)
	for range 1200 {
		s.waiter(at(0))
	}
	batch := s.mustDepart(at(0), Acquire, Acquire, Acquire)
	if n := len(batch.Calls[2].Grants); n != 200 {
		t.Fatalf("%d ids in the last call, want 200", n)
	}
	run(batch, at(0), maxIDs)
	s.Arrive(at(0), batch)
	s.mustDepart(at(0).Add(s.Window/3), Renew, Renew, Renew)
}

// An attempt may take twice what the server has lately needed, and half of the window at most.
func TestBoundFollowsWhatTheServerHasLatelyNeeded(t *testing.T) {
	s := newStateTest(t, 1)
	for _, tc := range []struct{ needed, bound time.Duration }{
		{0, maxAttempt},
		{10 * time.Millisecond, testTTL / 8},
		{testTTL / 8, testTTL / 4},
		{testTTL / 2, s.Window / 2},
		{time.Hour, s.Window / 2},
	} {
		s.Needed = tc.needed
		if got := s.bound(); got != tc.bound {
			t.Errorf("the server needs %v: an attempt may take %v, want %v", tc.needed, got, tc.bound)
		}
		if got := s.Patience(); got < 2*s.bound() || got > s.Window {
			t.Errorf("the server needs %v: the client may take %v", tc.needed, got)
		}
	}
}

// While nothing is held, no window can end during a longer attempt.
func TestBoundGrowsWithEachAttemptThatFails(t *testing.T) {
	s := newStateTest(t, 1)
	s.Config.TTL = 4 * time.Second
	for failures, want := range []time.Duration{500 * time.Millisecond, time.Second, maxAttempt, maxAttempt} {
		s.failures = failures
		if got := s.bound(); got != want {
			t.Errorf("after %d failures an attempt may take %v, want %v", failures, got, want)
		}
	}
	s.failures = 0
	s.acquired(at(0))
	s.Needed = 0 // another server is in charge
	for _, s.failures = range []int{0, 3} {
		if got := s.bound(); got != s.Config.Attempt() {
			t.Errorf("while a lease is held, after %d failures, an attempt may take %v, want %v", s.failures, got, s.Config.Attempt())
		}
	}
}
