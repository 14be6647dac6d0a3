package lease

import (
	"fmt"
	"testing"
	"time"
)

// fullHouse has so many callers hold all permits, one each, and so many wait.
func (d *deskTest) fullHouse(capacity, waiters int) (holders, waiting []*waiter) {
	d.Helper()
	d.cfg.Handover = -1
	for range capacity {
		holders = append(holders, d.waiter(at(0)))
	}
	ex := d.depart(at(0), reading{})
	run(ex, at(0), maxIDs)
	d.arrive(at(0), ex)
	for range waiters {
		waiting = append(waiting, d.waiter(at(0)))
	}
	ex = d.depart(at(0), reading{})
	run(ex, at(0), 0)
	for i := range ex.calls {
		ex.calls[i].occupancy.capacity = capacity
	}
	d.arrive(at(0), ex)
	for _, w := range holders {
		d.mustBeServed(w)
	}
	for _, w := range waiting {
		d.mustWait(w)
	}
	return holders, waiting
}

// asksFor is for how many waiters ex asks.
func asksFor(ex *exchange) (n int) {
	for i := range ex.calls {
		if c := &ex.calls[i]; c.verb == acquire {
			n += len(c.grants)
		}
	}
	return n
}

func TestDeskAsksWithAReleaseForNoMoreThanCanBeServedAndOne(t *testing.T) {
	for _, waiters := range []int{1, 100, 1000} {
		t.Run(fmt.Sprint(waiters), func(t *testing.T) {
			d := newDeskTest(t, 1000)
			holders, waiting := d.fullHouse(1000, waiters)
			poll := d.pollAt
			now := at(time.Millisecond)
			d.release(now, holders[0].hold)
			ex := d.mustDepart(now, release, acquire)
			if n, want := asksFor(ex), min(waiters, 2); n != want {
				t.Errorf("a release of one permit asks for %d waiters, want %d", n, want)
			}
			if g := ex.calls[1].grants[0]; g.waiter != waiting[0] {
				t.Error("it does not ask for who waits longest")
			}
			if waiters > 2 && d.pollAt != poll {
				t.Errorf("the poll of the others moved from %v to %v", poll, d.pollAt)
			}
			run(ex, now, 1)
			if o := ex.calls[1].occupancy; o != nil {
				o.capacity = 1000
			}
			d.arrive(now, ex)
			d.mustBeServed(waiting[0])
			for _, h := range holders[1:4] {
				d.release(now, h.hold)
			}
			ex = d.mustDepart(now, []verb{release, acquire}[:min(waiters, 2)]...)
			if n, want := asksFor(ex), min(waiters-1, 4); n != want {
				t.Errorf("a release of three permits asks for %d waiters, want %d", n, want)
			}
		})
	}
}

// A poll covers all who stand in the shared queue, and comes at its time though permits are released all along.
func TestDeskPollsForAllThoughPermitsAreReleasedAllAlong(t *testing.T) {
	d := newDeskTest(t, 10)
	holders, _ := d.fullHouse(10, 10)
	for i, h := range holders {
		now := at(time.Duration(i+1) * d.cfg.RetryInterval / 5)
		d.release(now, h.hold)
		ex := d.depart(now, reading{})
		if asksFor(ex) > 2 {
			if asksFor(ex) < 5 {
				t.Fatalf("the poll asks for %d", asksFor(ex))
			}
			return
		}
		run(ex, now, 1)
		ex.calls[1].occupancy.capacity = 10
		d.arrive(now, ex)
	}
	t.Fatal("nobody polls")
}

// What is released weighs more than who waits: as many are asked for as its permits can serve.
func TestDeskAsksByWeight(t *testing.T) {
	d := newDeskTest(t, 5)
	d.cfg.Handover = -1
	heavy := d.heavy(at(0), 3)
	ex := d.mustDepart(at(0), acquire)
	run(ex, at(0), 1)
	d.arrive(at(0), ex)
	g := d.mustBeServed(heavy)
	for range 6 {
		d.waiter(at(0))
	}
	ex = d.mustDepart(at(0), acquire)
	run(ex, at(0), 0)
	ex.calls[0].occupancy.capacity = 5
	d.arrive(at(0), ex)
	d.release(at(1), g.hold)
	if ex = d.mustDepart(at(1), release, acquire); asksFor(ex) != 4 {
		t.Errorf("a release of three permits asks for %d waiters of one each, want 4", asksFor(ex))
	}
}

func TestDeskGivesBackWithinASecondAfterAnOutageWhateverTheTTL(t *testing.T) {
	for _, ttl := range []time.Duration{2 * time.Second, 5 * time.Minute, time.Hour, 24 * time.Hour} {
		for _, outage := range []time.Duration{3 * time.Second, time.Minute} {
			t.Run(fmt.Sprint(ttl, outage), func(t *testing.T) {
				d := newDeskTest(t, 1)
				d.cfg.TTL, d.cfg.Margin = ttl, ttl/20
				d.window = d.cfg.TTL - d.cfg.Margin
				w := d.waiter(at(0))
				ex := d.mustDepart(at(0), acquire)
				run(ex, at(0), 1)
				ex.calls[0].answers[0].expiry = serverAt(at(0))/1000 + ttl.Milliseconds()
				d.arrive(at(0), ex)
				d.release(at(0), d.mustBeServed(w).hold)
				now, back := at(0), at(outage)
				for !now.reached(back) {
					d.tick(now)
					if d.idle() {
						return // the outage was longer than the permit lived
					}
					if ex := d.depart(now, reading{}); ex != nil {
						fail(ex, errNet)
						d.arrive(now, ex)
					}
					now = d.next()
				}
				if late := back.until(now); late > time.Second {
					t.Errorf("given back %v after the outage, want a second at most", late)
				}
			})
		}
	}
}

// Its lease was over before its caller saw it: the process was paused. It arrives anew, at the end of the line.
func TestDeskGivesWhoAsksAgainNoPlaceOfAnEarlierArrival(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.queued(at(0))
	if w.place == 0 {
		t.Fatal("it has no place")
	}
	d.pushed(at(time.Millisecond), granting(w.grant.id, at(time.Millisecond)))
	end := d.mustBeServed(w).until.end()
	d.tick(end)
	d.release(end, w.hold)
	ex := d.mustDepart(end, release)
	run(ex, end, 0)
	d.arrive(end, ex)
	front := d.queued(end)
	w.done, w.hold = make(chan struct{}), &holding{holder: reachable{}}
	d.ask(end, w)
	ex = d.mustDepart(end, acquire)
	if c := ex.calls[0]; w.place != 0 || c.stood != 0 || c.behind != front.place {
		t.Errorf("it brings the place %d; %d of the call have one, the others come behind %d, want %d", w.place, c.stood, c.behind, front.place)
	}
}

func TestDeskHandsNothingOverInAPauseThatItWasToldOf(t *testing.T) {
	d := newDeskTest(t, 1)
	d.cfg.Handover = time.Minute
	g := d.acquired(at(0))
	w := d.waiter(at(1))
	ex := d.mustDepart(at(1), acquire)
	run(ex, at(1), 0)
	ex.calls[0].occupancy.capacity = 0
	d.arrive(at(2), ex)
	d.release(at(3), g.hold)
	d.mustWait(w)
	d.mustDepart(at(3), release, acquire)
}
