package lease

import (
	"testing"
	"time"
)

func TestBoundFollowsWhatTheServerHasLatelyNeeded(t *testing.T) {
	d := newDeskTest(t, 1)
	for _, tc := range []struct{ needed, bound time.Duration }{
		{0, maxAttempt},
		{10 * time.Millisecond, testTTL / 8},
		{testTTL / 8, testTTL / 4},
		{testTTL / 2, d.window / 2},
		{time.Hour, d.window / 2},
	} {
		d.needed = tc.needed
		if got := d.bound(); got != tc.bound {
			t.Errorf("the server needs %v: an attempt may take %v, want %v", tc.needed, got, tc.bound)
		}
		if got := d.patience(); got < 2*d.bound() || got > d.window {
			t.Errorf("the server needs %v: the client may take %v", tc.needed, got)
		}
	}
}

// Nothing is held that a longer attempt could cost.
func TestBoundGrowsWithEachAttemptThatFails(t *testing.T) {
	d := newDeskTest(t, 1)
	d.cfg.TTL = 4 * time.Second
	for failures, want := range []time.Duration{500 * time.Millisecond, time.Second, maxAttempt, maxAttempt} {
		d.failures = failures
		if got := d.bound(); got != want {
			t.Errorf("after %d failures an attempt may take %v, want %v", failures, got, want)
		}
	}
	d.failures = 0
	d.acquired(at(0))
	d.needed = 0 // another server is in charge
	for _, d.failures = range []int{0, 3} {
		if got := d.bound(); got != d.cfg.attempt() {
			t.Errorf("while a lease is held, after %d failures, an attempt may take %v, want %v", d.failures, got, d.cfg.attempt())
		}
	}
}

func TestWhatAServerNeedsIsForgottenByAndBy(t *testing.T) {
	s := &serverTime{}
	s.answered(2 * time.Second)
	s.answered(time.Millisecond)
	if got := s.need(); got != time.Second {
		t.Errorf("needs %v after one quick answer", got)
	}
	s.answered(3 * time.Second)
	for range 20 {
		s.answered(time.Millisecond)
	}
	if got := s.need(); got > 2*time.Millisecond {
		t.Errorf("needs %v after twenty quick answers", got)
	}
}

// heavyDesk holds n leases of weight 1,000, which end one after the other.
func heavyDesk(t *testing.T, n int) *deskTest {
	d := newDeskTest(t, 1000*n)
	d.trip = 1 // the server is near
	for i := range n {
		g := &grant{id: idOf(i+1, 1000), weight: 1000}
		g.hold = &holding{holder: reachable{}, grant: g}
		d.keep(at(d.window+time.Duration(i)), g)
	}
	return d
}

// renewedIDs is whom an exchange renews.
func renewedIDs(ex *exchange) (ids []string) {
	for _, c := range ex.calls {
		for _, g := range c.grants {
			ids = append(ids, g.id)
		}
	}
	return ids
}

func TestDeskRenewsMuchInPartsAndGoesOnWhereItWas(t *testing.T) {
	d := heavyDesk(t, 100)
	now := d.renewAt
	seen := map[string]int{}
	parts := 0
	for begin := now; d.renewalDue(now) && now.mono < begin.mono+d.third(); parts++ {
		ex := d.depart(now, reading{})
		if ex.renews > d.part {
			t.Fatalf("a part of %d permits", ex.renews)
		}
		for _, id := range renewedIDs(ex) {
			seen[id]++
		}
		sent := now
		now = now.add(d.bound() / 4) // not so quick that parts grow, nor so slow that they shrink
		run(ex, sent, 0)
		d.arrive(now, ex)
	}
	if parts != 5 || len(seen) != 100 {
		t.Errorf("%d leases renewed in %d parts, want 100 in 5", len(seen), parts)
	}
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s was renewed %d times", id, n)
		}
	}
	if end := d.firstEnd(); end.mono < now.mono+d.window/2 {
		t.Errorf("a window ends %v after the last part", now.until(end))
	}
}

func TestDeskRenewsInSmallerPartsWhenAPartIsGivenUp(t *testing.T) {
	d := heavyDesk(t, 100)
	now := d.renewAt
	ex := d.depart(now, reading{})
	first, size := renewedIDs(ex)[0], ex.renews
	now = ex.giveUp
	d.tick(now)
	now = d.next()
	ex = d.depart(now, reading{})
	if ex.renews != size/2 || renewedIDs(ex)[0] != first {
		t.Fatalf("after a part of %d was given up, %d are sent; want half, and whose windows end first", size, ex.renews)
	}
	for range 20 {
		now = ex.giveUp
		d.tick(now)
		if len(d.held) == 0 {
			break
		}
		if at := d.next(); !now.reached(at) {
			now = at
		}
		if ex = d.depart(now, reading{}); ex == nil || ex.renews == 0 {
			break
		}
	}
	if d.part < leastPart {
		t.Errorf("parts of %d", d.part)
	}
}

func TestDeskRenewsInLargerPartsWhenTheServerIsQuick(t *testing.T) {
	d := heavyDesk(t, 100)
	now := d.renewAt
	for range 20 {
		ex := d.depart(now, reading{})
		run(ex, now, 0)
		d.arrive(now.add(time.Millisecond), ex)
		now = d.renewAt
	}
	if d.part < d.weight {
		t.Errorf("a quick server renews %d of %d permits in a part", d.part, d.weight)
	}
	if ex := d.depart(d.renewAt, reading{}); ex.renews != d.weight {
		t.Errorf("%d of %d permits are renewed together", ex.renews, d.weight)
	}
}

// A smaller part would take as long: what it takes is the way.
func TestDeskRenewsInNoSmallerPartsWhenTheServerIsFar(t *testing.T) {
	d := heavyDesk(t, 20)
	d.trip, d.needed = testTTL/10, testTTL/10
	now := d.renewAt
	for i := range 20 {
		ex := d.depart(now, reading{})
		if ex == nil || ex.renews != d.weight {
			t.Fatalf("round %d renews %+v, want all in one part", i, ex)
		}
		run(ex, now.add(testTTL/20), 0)
		d.arrive(now.add(testTTL/10+time.Duration(min(i%3, 1))*testTTL/80), ex) // the delay varies
		now = d.renewAt
	}
}

// Promise 3: at least two attempts fit into every window, and one that hangs does not take the time of the other.
func TestDeskAnAttemptThatHangsLeavesTimeForAnother(t *testing.T) {
	for part := time.Duration(0); part <= 9; part++ {
		d := newDeskTest(t, 1)
		d.acquired(at(0))
		d.needed = d.window * part / 32
		ex := d.depart(d.renewAt, reading{})
		d.tick(ex.giveUp)
		again := d.next()
		if ex = d.depart(again, reading{}); ex == nil || ex.renews != 1 {
			t.Fatalf("the server needs %v: the second attempt is %+v", d.needed, ex)
		}
		if end := d.firstEnd(); again.until(end) < d.needed {
			t.Errorf("the server needs %v: the second attempt has %v until the window ends", d.needed, again.until(end))
		}
	}
}

// One attempt that is given up does not tell that a part is too large, where one as large has been answered in time.
func TestDeskRenewsInSmallerPartsOnlyWhenTheSecondIsGivenUp(t *testing.T) {
	d := heavyDesk(t, 10)
	now := d.renewAt
	ex := d.depart(now, reading{})
	run(ex, now, 0)
	d.arrive(now.add(time.Millisecond), ex)
	now = d.renewAt
	for i, want := range []int{10, 10, 5} {
		if ex = d.depart(now, reading{}); ex.renews != 1000*want {
			t.Fatalf("attempt %d renews %d permits, want %d", i, ex.renews, 1000*want)
		}
		d.tick(ex.giveUp)
		now = d.next()
	}
}

// What was answered late was not too much, unless it takes longer than an attempt ever may.
func TestDeskRenewsInLargerPartsAgainWhenALateAnswerComes(t *testing.T) {
	window := newDeskTest(t, 1).window
	for _, tc := range []struct {
		took time.Duration
		want int
	}{
		{testTTL * 3 / 16, 10_000}, // while a smaller part is under way, which is given up
		{window / 2, 10_000},
		{window * 5 / 8, 2000},
	} {
		d := heavyDesk(t, 10)
		now := d.renewAt
		first := d.depart(now, reading{})
		run(first, now, 0)
		d.tick(first.giveUp)
		small := d.depart(d.next(), reading{})
		if small.renews != 5000 {
			t.Fatalf("after 10,000 permits %d are renewed, want half", small.renews)
		}
		late := now.add(tc.took)
		d.arrive(late, first)
		if d.failures != 0 {
			t.Errorf("after an answer that took %v, %d attempts in a row count as failed", tc.took, d.failures)
		}
		d.tick(small.giveUp)
		if now = d.renewAt; !now.reached(late) {
			now = late
		}
		if ex := d.depart(now, reading{}); ex == nil || ex.renews != tc.want {
			t.Errorf("after an answer that took %v, %+v is sent; want %d permits", tc.took, ex, tc.want)
		}
	}
}
