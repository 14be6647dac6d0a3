package protocol

import (
	"fmt"
	"testing"
	"time"
)

// fullHouse has so many callers hold all permits, one each, and so many wait.
func (d *stateTest) fullHouse(capacity, waiters int) (holders, waiting []*Waiter) {
	d.Helper()
	d.Config.Handover = -1
	for range capacity {
		holders = append(holders, d.waiter(at(0)))
	}
	ex := d.Depart(at(0), Reading{})
	run(ex, at(0), maxIDs)
	d.Arrive(at(0), ex)
	for range waiters {
		waiting = append(waiting, d.waiter(at(0)))
	}
	ex = d.Depart(at(0), Reading{})
	run(ex, at(0), 0)
	for i := range ex.Calls {
		ex.Calls[i].Occupancy.Capacity = capacity
	}
	d.Arrive(at(0), ex)
	for _, w := range holders {
		d.mustBeServed(w)
	}
	for _, w := range waiting {
		d.mustWait(w)
	}
	return holders, waiting
}

// asksFor is for how many waiters ex asks.
func asksFor(ex *Batch) (n int) {
	for i := range ex.Calls {
		if c := &ex.Calls[i]; c.Verb == Acquire {
			n += len(c.Grants)
		}
	}
	return n
}

func TestStateAsksWithAReleaseForNoMoreThanCanBeServedAndOne(t *testing.T) {
	for _, waiters := range []int{1, 100, 1000} {
		t.Run(fmt.Sprint(waiters), func(t *testing.T) {
			d := newStateTest(t, 1000)
			holders, waiting := d.fullHouse(1000, waiters)
			poll := d.pollAt
			now := at(time.Millisecond)
			d.Release(now, holders[0].Holding)
			ex := d.mustDepart(now, Release, Acquire)
			if n, want := asksFor(ex), min(waiters, 2); n != want {
				t.Errorf("a release of one permit asks for %d waiters, want %d", n, want)
			}
			if g := ex.Calls[1].Grants[0]; g.waiter != waiting[0] {
				t.Error("it does not ask for who waits longest")
			}
			if waiters > 2 && d.pollAt != poll {
				t.Errorf("the poll of the others moved from %v to %v", poll, d.pollAt)
			}
			run(ex, now, 1)
			if o := ex.Calls[1].Occupancy; o != nil {
				o.Capacity = 1000
			}
			d.Arrive(now, ex)
			d.mustBeServed(waiting[0])
			for _, h := range holders[1:4] {
				d.Release(now, h.Holding)
			}
			ex = d.mustDepart(now, []Verb{Release, Acquire}[:min(waiters, 2)]...)
			if n, want := asksFor(ex), min(waiters-1, 4); n != want {
				t.Errorf("a release of three permits asks for %d waiters, want %d", n, want)
			}
		})
	}
}

// A poll covers all who stand in the shared queue, and comes at its time though permits are released all along.
func TestStatePollsForAllThoughPermitsAreReleasedAllAlong(t *testing.T) {
	d := newStateTest(t, 10)
	holders, _ := d.fullHouse(10, 10)
	for i, h := range holders {
		now := at(time.Duration(i+1) * d.Config.RetryInterval / 5)
		d.Release(now, h.Holding)
		ex := d.Depart(now, Reading{})
		if asksFor(ex) > 2 {
			if asksFor(ex) < 5 {
				t.Fatalf("the poll asks for %d", asksFor(ex))
			}
			return
		}
		run(ex, now, 1)
		ex.Calls[1].Occupancy.Capacity = 10
		d.Arrive(now, ex)
	}
	t.Fatal("nobody polls")
}

// What is released weighs more than who waits: as many are asked for as its permits can serve.
func TestStateAsksByWeight(t *testing.T) {
	d := newStateTest(t, 5)
	d.Config.Handover = -1
	heavy := d.heavy(at(0), 3)
	ex := d.mustDepart(at(0), Acquire)
	run(ex, at(0), 1)
	d.Arrive(at(0), ex)
	g := d.mustBeServed(heavy)
	for range 6 {
		d.waiter(at(0))
	}
	ex = d.mustDepart(at(0), Acquire)
	run(ex, at(0), 0)
	ex.Calls[0].Occupancy.Capacity = 5
	d.Arrive(at(0), ex)
	d.Release(at(1), g.Holding)
	if ex = d.mustDepart(at(1), Release, Acquire); asksFor(ex) != 4 {
		t.Errorf("a release of three permits asks for %d waiters of one each, want 4", asksFor(ex))
	}
}

func TestStateGivesBackWithinASecondAfterAnOutageWhateverTheTTL(t *testing.T) {
	for _, ttl := range []time.Duration{2 * time.Second, 5 * time.Minute, time.Hour, 24 * time.Hour} {
		for _, outage := range []time.Duration{3 * time.Second, time.Minute} {
			t.Run(fmt.Sprint(ttl, outage), func(t *testing.T) {
				d := newStateTest(t, 1)
				d.Config.TTL, d.Config.Margin = ttl, ttl/20
				d.Window = d.Config.TTL - d.Config.Margin
				w := d.waiter(at(0))
				ex := d.mustDepart(at(0), Acquire)
				run(ex, at(0), 1)
				ex.Calls[0].Answers[0].Expiry = serverAt(at(0))/1000 + ttl.Milliseconds()
				d.Arrive(at(0), ex)
				d.Release(at(0), d.mustBeServed(w).Holding)
				now, back := at(0), at(outage)
				for !now.Reached(back) {
					d.Tick(now)
					if d.Idle() {
						return // the outage was longer than the permit lived
					}
					if ex := d.Depart(now, Reading{}); ex != nil {
						fail(ex, errNet)
						d.Arrive(now, ex)
					}
					now = d.Next()
				}
				if late := back.Until(now); late > time.Second {
					t.Errorf("given back %v after the outage, want a second at most", late)
				}
			})
		}
	}
}

// Its lease was over before its caller saw it: the process was paused. It arrives anew, at the end of the line.
func TestStateGivesWhoAsksAgainNoPlaceOfAnEarlierArrival(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.queued(at(0))
	if w.place == 0 {
		t.Fatal("it has no place")
	}
	d.Notified(at(time.Millisecond), granting(w.grant.ID, at(time.Millisecond)))
	end := d.mustBeServed(w).Until.End()
	d.Tick(end)
	d.Release(end, w.Holding)
	ex := d.mustDepart(end, Release)
	run(ex, end, 0)
	d.Arrive(end, ex)
	front := d.queued(end)
	w.Done, w.Holding = make(chan struct{}), &Holding{Holder: reachable{}}
	d.Ask(end, w)
	ex = d.mustDepart(end, Acquire)
	if c := ex.Calls[0]; w.place != 0 || c.Stood != 0 || c.Behind != front.place {
		t.Errorf("it brings the place %d; %d of the call have one, the others come behind %d, want %d", w.place, c.Stood, c.Behind, front.place)
	}
}

func TestStateHandsNothingOverInAPauseThatItWasToldOf(t *testing.T) {
	d := newStateTest(t, 1)
	d.Config.Handover = time.Minute
	g := d.acquired(at(0))
	w := d.waiter(at(1))
	ex := d.mustDepart(at(1), Acquire)
	run(ex, at(1), 0)
	ex.Calls[0].Occupancy.Capacity = 0
	d.Arrive(at(2), ex)
	d.Release(at(3), g.Holding)
	d.mustWait(w)
	d.mustDepart(at(3), Release, Acquire)
}

// The server's clock has stepped ahead of the request's limit; this very answer says how far, so there is nothing to wait
// for.
func TestStateAsksAgainAtOnceWhenItsRequestWasLateByAStep(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), Acquire)
	now := at(10 * time.Millisecond)
	c := &ex.Calls[0]
	c.Server, c.Late = serverAt(now)+time.Hour.Microseconds(), true
	d.Arrive(now, ex)
	d.mustWait(w)
	d.mustDepart(now, Acquire)
}
