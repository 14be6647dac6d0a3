package protocol

import (
	"testing"
	"time"
)

// A renewal finds that the permit was revoked, and nothing else is held: no window is watched any more. Then its
// holder releases, and the server is silent.
func TestStateWaitsForTheReleaseOfARevokedPermitNoLongerThanItsWindow(t *testing.T) {
	d := newStateTest(t, 1)
	g := d.acquired(at(0))
	h, end := g.Holding, g.Until.End()
	now := at(0).Add(d.Window / 3)
	ex := d.mustDepart(now, Renew)
	run(ex, now, 0)
	ex.Calls[0].Lost = []int64{-1}
	d.Arrive(now, ex)
	if len(d.takeEnds()) != 1 || g.State != ended {
		t.Fatalf("the lease goes on: state %v", g.State)
	}
	h.Confirmed = make(chan struct{})
	d.Release(now, h)
	for {
		d.Tick(now)
		d.Depart(now, Reading{}) // no answer
		select {
		case <-h.Confirmed:
			if now != end {
				t.Errorf("Release returns at %v, want %v, the end of the window", now, end)
			}
			return
		default:
		}
		if now = earlier(d.Next(), d.EndAt); now.IsZero() {
			t.Fatal("Release never returns")
		}
	}
}

// A request that was given up takes a permit as late as it can, and the server is not reached for as long as that
// permit counts.
func TestStateTriesAReleaseAgainForAsLongAsRedisMayCountThePermit(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), Acquire)
	d.Leave(at(1), w, ReasonCancelled)
	d.Tick(ex.giveUp)
	end := ex.lateBy.Add(testTTL)
	for now := d.Next(); !now.Reached(end); now = d.Next() {
		if ex := d.Depart(now, Reading{}); ex != nil {
			fail(ex, errNet)
			d.Arrive(now, ex)
		}
		if d.Idle() {
			t.Fatalf("no release is sent after %v, and the permit counts until %v", now, end)
		}
	}
}

// The answer that the server's clock is known by took a second: the clock may have been read at its end, and then it
// is a second behind what it shows if it was read at its beginning.
func TestStateReleasesWhenTheServersClockMustHavePassedTheLimitOfTheRequest(t *testing.T) {
	d := newStateTest(t, 1)
	now := at(2 * time.Second)
	known := Reading{Sent: at(0), Received: at(time.Second), Micros: serverAt(at(0))}
	w := d.waiter(now)
	ex := d.Depart(now, known)
	d.Leave(now.Add(1), w, ReasonCancelled)
	d.Tick(ex.giveUp) // no reply
	passes := known.Received.Add(time.Duration(ex.NotAfter-known.Micros) * time.Microsecond)
	if next := d.Next(); next.Mono < passes.Mono {
		t.Fatalf("released at %v, while the request may take a permit until %v", next, passes)
	}
	d.mustDepart(ex.lateBy, Release)
}
