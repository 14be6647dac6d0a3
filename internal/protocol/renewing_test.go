package protocol

import (
	"testing"
	"time"
)

func TestBoundFollowsWhatTheServerHasLatelyNeeded(t *testing.T) {
	d := newStateTest(t, 1)
	for _, tc := range []struct{ needed, bound time.Duration }{
		{0, maxAttempt},
		{10 * time.Millisecond, testTTL / 8},
		{testTTL / 8, testTTL / 4},
		{testTTL / 2, d.Window / 2},
		{time.Hour, d.Window / 2},
	} {
		d.Needed = tc.needed
		if got := d.bound(); got != tc.bound {
			t.Errorf("the server needs %v: an attempt may take %v, want %v", tc.needed, got, tc.bound)
		}
		if got := d.Patience(); got < 2*d.bound() || got > d.Window {
			t.Errorf("the server needs %v: the client may take %v", tc.needed, got)
		}
	}
}

// Nothing is held that a longer attempt could cost.
func TestBoundGrowsWithEachAttemptThatFails(t *testing.T) {
	d := newStateTest(t, 1)
	d.Config.TTL = 4 * time.Second
	for failures, want := range []time.Duration{500 * time.Millisecond, time.Second, maxAttempt, maxAttempt} {
		d.failures = failures
		if got := d.bound(); got != want {
			t.Errorf("after %d failures an attempt may take %v, want %v", failures, got, want)
		}
	}
	d.failures = 0
	d.acquired(at(0))
	d.Needed = 0 // another server is in charge
	for _, d.failures = range []int{0, 3} {
		if got := d.bound(); got != d.Config.Attempt() {
			t.Errorf("while a lease is held, after %d failures, an attempt may take %v, want %v", d.failures, got, d.Config.Attempt())
		}
	}
}

// heavyState holds n leases of weight 1,000, which end one after the other.
func heavyState(t *testing.T, n int) *stateTest {
	d := newStateTest(t, 1000*n)
	d.trip = 1 // the server is near
	for i := range n {
		g := &Grant{ID: idOf(i+1, 1000), Weight: 1000}
		g.Holding = &Holding{Holder: reachable{}, Grant: g}
		d.Keep(at(d.Window+time.Duration(i)), g)
	}
	return d
}

// renewedIDs is whom a batch renews.
func renewedIDs(ex *Batch) (ids []string) {
	for _, c := range ex.Calls {
		for _, g := range c.Grants {
			ids = append(ids, g.ID)
		}
	}
	return ids
}

func TestStateRenewsMuchInPartsAndGoesOnWhereItWas(t *testing.T) {
	d := heavyState(t, 100)
	now := d.RenewAt
	seen := map[string]int{}
	parts := 0
	for begin := now; d.RenewalDue(now) && now.Mono < begin.Mono+d.third(); parts++ {
		ex := d.Depart(now, Reading{})
		if ex.Renews > d.part {
			t.Fatalf("a part of %d permits", ex.Renews)
		}
		for _, id := range renewedIDs(ex) {
			seen[id]++
		}
		sent := now
		now = now.Add(d.bound() / 4) // not so quick that parts grow, nor so slow that they shrink
		run(ex, sent, 0)
		d.Arrive(now, ex)
	}
	if parts != 5 || len(seen) != 100 {
		t.Errorf("%d leases renewed in %d parts, want 100 in 5", len(seen), parts)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was renewed %d times", id, n)
		}
	}
	if end := d.firstEnd(); end.Mono < now.Mono+d.Window/2 {
		t.Errorf("a window ends %v after the last part", now.Until(end))
	}
}

func TestStateRenewsInSmallerPartsWhenAPartIsGivenUp(t *testing.T) {
	d := heavyState(t, 100)
	now := d.RenewAt
	ex := d.Depart(now, Reading{})
	first, size := renewedIDs(ex)[0], ex.Renews
	now = ex.giveUp
	d.Tick(now)
	now = d.Next()
	ex = d.Depart(now, Reading{})
	if ex.Renews != size/2 || renewedIDs(ex)[0] != first {
		t.Fatalf("after a part of %d was given up, %d are sent; want half, and whose windows end first", size, ex.Renews)
	}
	for range 20 {
		now = ex.giveUp
		d.Tick(now)
		if len(d.held) == 0 {
			break
		}
		if at := d.Next(); !now.Reached(at) {
			now = at
		}
		if ex = d.Depart(now, Reading{}); ex == nil || ex.Renews == 0 {
			break
		}
	}
	if d.part < leastPart {
		t.Errorf("parts of %d", d.part)
	}
}

func TestStateRenewsInLargerPartsWhenTheServerIsQuick(t *testing.T) {
	d := heavyState(t, 100)
	now := d.RenewAt
	for range 20 {
		ex := d.Depart(now, Reading{})
		run(ex, now, 0)
		d.Arrive(now.Add(time.Millisecond), ex)
		now = d.RenewAt
	}
	if d.part < d.weight {
		t.Errorf("a quick server renews %d of %d permits in a part", d.part, d.weight)
	}
	if ex := d.Depart(d.RenewAt, Reading{}); ex.Renews != d.weight {
		t.Errorf("%d of %d permits are renewed together", ex.Renews, d.weight)
	}
}

// A smaller part would take as long: what it takes is the way.
func TestStateRenewsInNoSmallerPartsWhenTheServerIsFar(t *testing.T) {
	d := heavyState(t, 20)
	d.trip, d.Needed = testTTL/10, testTTL/10
	now := d.RenewAt
	for i := range 20 {
		ex := d.Depart(now, Reading{})
		if ex == nil || ex.Renews != d.weight {
			t.Fatalf("round %d renews %+v, want all in one part", i, ex)
		}
		run(ex, now.Add(testTTL/20), 0)
		d.Arrive(now.Add(testTTL/10+time.Duration(min(i%3, 1))*testTTL/80), ex) // the delay varies
		now = d.RenewAt
	}
}

// Promise 3: at least two attempts fit into every window, and one that hangs does not take the time of the other.
func TestStateAnAttemptThatHangsLeavesTimeForAnother(t *testing.T) {
	for part := time.Duration(0); part <= 9; part++ {
		d := newStateTest(t, 1)
		d.acquired(at(0))
		d.Needed = d.Window * part / 32
		ex := d.Depart(d.RenewAt, Reading{})
		d.Tick(ex.giveUp)
		again := d.Next()
		if ex = d.Depart(again, Reading{}); ex == nil || ex.Renews != 1 {
			t.Fatalf("the server needs %v: the second attempt is %+v", d.Needed, ex)
		}
		if end := d.firstEnd(); again.Until(end) < d.Needed {
			t.Errorf("the server needs %v: the second attempt has %v until the window ends", d.Needed, again.Until(end))
		}
	}
}

// One attempt that is given up does not tell that a part is too large, where one as large has been answered in time.
func TestStateRenewsInSmallerPartsOnlyWhenTheSecondIsGivenUp(t *testing.T) {
	d := heavyState(t, 10)
	now := d.RenewAt
	ex := d.Depart(now, Reading{})
	run(ex, now, 0)
	d.Arrive(now.Add(time.Millisecond), ex)
	now = d.RenewAt
	for i, want := range []int{10, 10, 5} {
		if ex = d.Depart(now, Reading{}); ex.Renews != 1000*want {
			t.Fatalf("attempt %d renews %d permits, want %d", i, ex.Renews, 1000*want)
		}
		d.Tick(ex.giveUp)
		now = d.Next()
	}
}

// What was answered late was not too much, unless it takes longer than an attempt ever may.
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
		d := heavyState(t, 10)
		now := d.RenewAt
		first := d.Depart(now, Reading{})
		run(first, now, 0)
		d.Tick(first.giveUp)
		small := d.Depart(d.Next(), Reading{})
		if small.Renews != 5000 {
			t.Fatalf("after 10,000 permits %d are renewed, want half", small.Renews)
		}
		late := now.Add(tc.took)
		d.Arrive(late, first)
		if d.failures != 0 {
			t.Errorf("after an answer that took %v, %d attempts in a row count as failed", tc.took, d.failures)
		}
		d.Tick(small.giveUp)
		if now = d.RenewAt; !now.Reached(late) {
			now = late
		}
		if ex := d.Depart(now, Reading{}); ex == nil || ex.Renews != tc.want {
			t.Errorf("after an answer that took %v, %+v is sent; want %d permits", tc.took, ex, tc.want)
		}
	}
}
