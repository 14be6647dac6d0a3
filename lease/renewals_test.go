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
	d.failures = 3
	if got := d.bound(); got != d.cfg.attempt() {
		t.Errorf("while a lease is held an attempt may take %v, want %v", got, d.cfg.attempt())
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
		g.hold = &hold{grant: g, parent: t.Context()}
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
		d.arrive(now.add(testTTL/10+time.Duration(i%2)*testTTL/80), ex) // the delay varies
		now = d.renewAt
	}
}
