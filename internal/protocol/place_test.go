package protocol

import (
	"slices"
	"testing"
	"time"
)

// The first call of a process makes a connection, and the next one is quicker. The server counts a place from the time
// when it carries the call out, and the callers of the quick call must not stand in front of those of the slow one.
func TestStateKeepsTheOrderOfItsCallersWhenTheirFirstCallIsSlow(t *testing.T) {
	s := newStateTest(t, 3)
	ms := func(n int) Instant { return at(time.Duration(n) * time.Millisecond) }
	first := s.waiter(ms(0))
	slow := s.mustDepart(ms(0), Acquire)
	s.waiter(ms(5))
	s.waiter(ms(6))
	run(slow, ms(20), 0)
	s.Arrive(ms(20), slow)
	quick := s.mustDepart(ms(20), Acquire)
	run(quick, ms(20), 0)
	s.Arrive(ms(20), quick)
	s.Leave(ms(21), first, ReasonCancelled) // the third moves up
	last := s.mustDepart(ms(21), Release, Acquire)
	places := append(placesOf(&slow.Calls[0], serverAt(ms(20))), placesOf(&quick.Calls[0], serverAt(ms(20)))...)
	places = append(places, placesOf(&last.Calls[1], serverAt(ms(21)))[1])
	if len(places) != 3 || !slices.IsSorted(places) || places[0] == places[1] || places[1] == places[2] {
		t.Errorf("places in the queue are %v, want them in the order of arrival", places)
	}
}

// The answer of the slow call is lost: it may have been carried out late, just before the next call.
func TestStateKeepsTheOrderOfItsCallersWhenTheirFirstCallIsNotAnswered(t *testing.T) {
	s := newStateTest(t, 3)
	s.waiter(at(0))
	slow := s.mustDepart(at(0), Acquire)
	s.waiter(at(10 * time.Millisecond))
	ran := serverAt(at(1400 * time.Millisecond))
	second := at(s.Config.Attempt())
	s.Tick(second) // given up
	s.pollAt = second
	quick := s.mustDepart(second, Acquire)
	run(quick, second, 0)
	s.Arrive(second, quick)
	s.waiter(second)
	s.Seen.Capacity = 3
	s.join(second)
	third := s.mustDepart(second, Acquire)
	places := append(placesOf(&slow.Calls[0], ran), placesOf(&quick.Calls[0], serverAt(second))[1])
	places = append(places, placesOf(&third.Calls[0], serverAt(second))[0])
	if len(places) != 3 || !slices.IsSorted(places) || places[0] == places[1] || places[1] == places[2] {
		t.Errorf("places in the queue are %v, want them in the order of arrival", places)
	}
}

// What keeps that order must not add up: a caller that comes with many others does not lose a round trip for each of
// them.
func TestStateLosesNoPlaceToABurst(t *testing.T) {
	s := newStateTest(t, 1)
	const trip = 50 * time.Millisecond
	var all []*Waiter
	for range 60 {
		all = append(all, s.waiter(at(0)))
	}
	now := at(0)
	for _, w := range all {
		if batch := s.Depart(now, Reading{}); batch != nil {
			now = now.Add(trip)
			c := &batch.Calls[len(batch.Calls)-1]
			for i, place := range placesOf(c, serverAt(now)) {
				late := time.Duration(place-serverAt(c.Grants[i].waiter.since)) * time.Microsecond
				if late > trip+time.Millisecond {
					t.Fatalf("a caller's place is %v after its arrival, want one trip", late)
				}
			}
			run(batch, now, 0)
			s.Arrive(now, batch)
		}
		s.Leave(now, w, ReasonCancelled)
	}
}
