package protocol

import (
	"testing"
	"time"
)

func TestStateFitsTwoRenewalsThatHangIntoEveryWindow(t *testing.T) {
	s := newStateTest(t, 1)
	s.random = func() float64 { return 0 } // the longest delays
	g := s.acquired(at(0))
	attempts := 0
	for now := at(0); !now.Reached(g.Until.End()); now = now.Add(time.Millisecond) {
		s.Tick(now)
		if s.Depart(now, Reading{}) != nil {
			attempts++
		}
	}
	if attempts < 2 {
		t.Fatalf("%d attempts fit into the window, want 2 at least", attempts)
	}
}

// heavyState makes a state that holds n leases of weight 1,000. Their windows end one after the other.
func heavyState(t *testing.T, n int) *stateTest {
	s := newStateTest(t, 1000*n)
	s.trip = 1 // the server is near
	for i := range n {
		g := &Grant{ID: idOf(i+1, 1000), Weight: 1000}
		g.Holding = &Holding{Holder: reachable{}, Grant: g}
		s.Keep(at(s.Window+time.Duration(i)), g)
	}
	return s
}

// renewedIDs returns the ids that a batch renews.
func renewedIDs(batch *Batch) (ids []string) {
	for _, c := range batch.Calls {
		for _, g := range c.Grants {
			ids = append(ids, g.ID)
		}
	}
	return ids
}

func TestStateRenewsMuchInPartsAndGoesOnWhereItWas(t *testing.T) {
	s := heavyState(t, 100)
	now := s.RenewAt
	seen := map[string]int{}
	parts := 0
	for begin := now; s.RenewalDue(now) && now.Mono < begin.Mono+s.third(); parts++ {
		batch := s.Depart(now, Reading{})
		if batch.Renews > s.part {
			t.Fatalf("a part of %d permits", batch.Renews)
		}
		for _, id := range renewedIDs(batch) {
			seen[id]++
		}
		sent := now
		now = now.Add(s.bound() / 4) // not so quick that parts grow, nor so slow that they shrink
		run(batch, sent, 0)
		s.Arrive(now, batch)
	}
	if parts != 5 || len(seen) != 100 {
		t.Errorf("%d leases renewed in %d parts, want 100 in 5", len(seen), parts)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was renewed %d times", id, n)
		}
	}
	if end := s.firstEnd(); end.Mono < now.Mono+s.Window/2 {
		t.Errorf("a window ends %v after the last part", now.Until(end))
	}
}

func TestStateRenewsInSmallerPartsWhenAPartIsGivenUp(t *testing.T) {
	s := heavyState(t, 100)
	now := s.RenewAt
	batch := s.Depart(now, Reading{})
	first, size := renewedIDs(batch)[0], batch.Renews
	now = batch.giveUp
	s.Tick(now)
	now = s.Next()
	batch = s.Depart(now, Reading{})
	if batch.Renews != size/2 || renewedIDs(batch)[0] != first {
		t.Fatalf("after a part of %d was given up, %d are sent; want half, and whose windows end first", size, batch.Renews)
	}
	for range 20 {
		now = batch.giveUp
		s.Tick(now)
		if len(s.held) == 0 {
			break
		}
		if at := s.Next(); !now.Reached(at) {
			now = at
		}
		if batch = s.Depart(now, Reading{}); batch == nil || batch.Renews == 0 {
			break
		}
	}
	if s.part < leastPart {
		t.Errorf("parts of %d", s.part)
	}
}

func TestStateRenewsInLargerPartsWhenTheServerIsQuick(t *testing.T) {
	s := heavyState(t, 100)
	now := s.RenewAt
	for range 20 {
		batch := s.Depart(now, Reading{})
		run(batch, now, 0)
		s.Arrive(now.Add(time.Millisecond), batch)
		now = s.RenewAt
	}
	if s.part < s.weight {
		t.Errorf("a quick server renews %d of %d permits in a part", s.part, s.weight)
	}
	if batch := s.Depart(s.RenewAt, Reading{}); batch.Renews != s.weight {
		t.Errorf("%d of %d permits are renewed together", batch.Renews, s.weight)
	}
}

// The server is far away: the way takes the time, and a smaller part would take as long.
func TestStateRenewsInNoSmallerPartsWhenTheServerIsFar(t *testing.T) {
	s := heavyState(t, 20)
	s.trip, s.Needed = testTTL/10, testTTL/10
	now := s.RenewAt
	for i := range 20 {
		batch := s.Depart(now, Reading{})
		if batch == nil || batch.Renews != s.weight {
			t.Fatalf("round %d renews %+v, want all in one part", i, batch)
		}
		run(batch, now.Add(testTTL/20), 0)
		s.Arrive(now.Add(testTTL/10+time.Duration(min(i%3, 1))*testTTL/80), batch) // the delay varies
		now = s.RenewAt
	}
}

// Promise 3: at least two attempts fit into every window, and one that hangs does not take the time of the other.
func TestStateAnAttemptThatHangsLeavesTimeForAnother(t *testing.T) {
	for part := time.Duration(0); part <= 9; part++ {
		s := newStateTest(t, 1)
		s.acquired(at(0))
		s.Needed = s.Window * part / 32
		batch := s.Depart(s.RenewAt, Reading{})
		s.Tick(batch.giveUp)
		again := s.Next()
		if batch = s.Depart(again, Reading{}); batch == nil || batch.Renews != 1 {
			t.Fatalf("the server needs %v: the second attempt is %+v", s.Needed, batch)
		}
		if end := s.firstEnd(); again.Until(end) < s.Needed {
			t.Errorf("the server needs %v: the second attempt has %v until the window ends", s.Needed, again.Until(end))
		}
	}
}

// A part as large as the one that is given up was answered in time before: something else may have been the reason, once.
func TestStateRenewsInSmallerPartsOnlyWhenTheSecondIsGivenUp(t *testing.T) {
	s := heavyState(t, 10)
	now := s.RenewAt
	batch := s.Depart(now, Reading{})
	run(batch, now, 0)
	s.Arrive(now.Add(time.Millisecond), batch)
	now = s.RenewAt
	for i, want := range []int{10, 10, 5} {
		if batch = s.Depart(now, Reading{}); batch.Renews != 1000*want {
			t.Fatalf("attempt %d renews %d permits, want %d", i, batch.Renews, 1000*want)
		}
		s.Tick(batch.giveUp)
		now = s.Next()
	}
}

// A part that is answered after it was given up was not too large, unless it took longer than an attempt ever may.
func TestStateRenewsInLargerPartsAgainWhenALateAnswerComes(t *testing.T) {
	window := newStateTest(t, 1).Window
	for _, tc := range []struct {
		took time.Duration
		want int
	}{
		{testTTL * 3 / 16, 10_000}, // while a smaller part is under way, which is given up
		{window / 2, 10_000},
		{window * 5 / 8, 2000},
	} {
		s := heavyState(t, 10)
		now := s.RenewAt
		first := s.Depart(now, Reading{})
		run(first, now, 0)
		s.Tick(first.giveUp)
		small := s.Depart(s.Next(), Reading{})
		if small.Renews != 5000 {
			t.Fatalf("after 10,000 permits %d are renewed, want half", small.Renews)
		}
		late := now.Add(tc.took)
		s.Arrive(late, first)
		if s.failures != 0 {
			t.Errorf("after an answer that took %v, %d attempts in a row count as failed", tc.took, s.failures)
		}
		s.Tick(small.giveUp)
		if now = s.RenewAt; !now.Reached(late) {
			now = late
		}
		if batch := s.Depart(now, Reading{}); batch == nil || batch.Renews != tc.want {
			t.Errorf("after an answer that took %v, %+v is sent; want %d permits", tc.took, batch, tc.want)
		}
	}
}

// A renewal that goes with those of other semaphores does not see to the lifetime of the permits' key, which is longer than
// a day. So the first of a state does so alone, and one of each hour.
func TestStateSeesToTheLifetimeOfTheKeyOnceAnHour(t *testing.T) {
	s := newStateTest(t, 1)
	s.acquired(at(0))
	var alone []Instant
	for now := at(0); !now.Reached(at(3 * time.Hour)); {
		now = s.RenewAt
		batch := s.Depart(now, Reading{})
		c := &batch.Calls[0]
		if c.Lifetime {
			alone = append(alone, now)
		}
		if len(alone) == 2 && now.Mono == alone[1].Mono { // nobody knows whether it was carried out
			fail(batch, errNet)
		} else {
			run(batch, now.Add(time.Millisecond), 0)
		}
		s.Arrive(now.Add(time.Millisecond), batch)
	}
	if len(alone) != 5 || alone[0].Mono > at(s.Window).Mono {
		t.Fatalf("alone at %v", alone)
	}
	for i, want := range []time.Duration{0, keepEvery, 0, keepEvery, keepEvery} {
		if i > 0 {
			if since := alone[i].Mono - alone[i-1].Mono; since < want || since > want+s.Window {
				t.Errorf("the next after %v, want %v", since, want)
			}
		}
	}
}

// The first of two calls that renew may have freed permits, and the second one fail. Those who wait elsewhere get them now.
func TestStatePromotesWhatARenewalThatFailedHasFreed(t *testing.T) {
	for _, late := range []bool{false, true} {
		s := newStateTest(t, 1)
		s.acquired(at(0))
		now := s.RenewAt
		batch := s.Depart(now, Reading{})
		if late {
			now = now.Add(s.Config.TTL / 4)
			s.Tick(now)
			if s.Batch != nil {
				t.Fatal("not given up")
			}
		}
		fail(batch, errNet)
		batch.Calls[0].More = true // on a client's goroutine: a state that has given it up must not read it before it arrives
		s.Arrive(now, batch)
		if s.promoteAt != now {
			t.Errorf("late: %v; promotes at %v, want %v", late, s.promoteAt, now)
		}
	}
}
