package lease

import (
	"testing"
	"time"
)

// A renewal finds that the permit was revoked, and nothing else is held: no window is watched any more. Then its
// holder releases, and the server is silent.
func TestDeskWaitsForTheReleaseOfARevokedPermitNoLongerThanItsWindow(t *testing.T) {
	d := newDeskTest(t, 1)
	g := d.acquired(at(0))
	h, end := g.hold, g.until.end()
	now := at(0).add(d.window / 3)
	ex := d.mustDepart(now, renew)
	run(ex, now, 0)
	ex.calls[0].lost = []int64{-1}
	d.arrive(now, ex)
	if len(d.takeEnds()) != 1 || g.state != ended {
		t.Fatalf("the lease goes on: state %v", g.state)
	}
	h.settled = make(chan struct{})
	d.release(now, h)
	for {
		d.tick(now)
		d.depart(now, reading{}) // no answer
		select {
		case <-h.settled:
			if now != end {
				t.Errorf("Release returns at %v, want %v, the end of the window", now, end)
			}
			return
		default:
		}
		if now = earlier(d.next(), d.endAt); now.isZero() {
			t.Fatal("Release never returns")
		}
	}
}

// A request that was given up takes a permit as late as it can, and the server is not reached for as long as that
// permit counts.
func TestDeskTriesAReleaseAgainForAsLongAsRedisMayCountThePermit(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), acquire)
	d.leave(at(1), w, reasonCancelled)
	d.tick(ex.giveUp)
	end := ex.lateBy.add(testTTL)
	for now := d.next(); !now.reached(end); now = d.next() {
		if ex := d.depart(now, reading{}); ex != nil {
			fail(ex, errNet)
			d.arrive(now, ex)
		}
		if d.idle() {
			t.Fatalf("no release is sent after %v, and the permit counts until %v", now, end)
		}
	}
}

// The answer that the server's clock is known by took a second: the clock may have been read at its end, and then it
// is a second behind what it shows if it was read at its beginning.
func TestDeskReleasesWhenTheServersClockMustHavePassedTheLimitOfTheRequest(t *testing.T) {
	d := newDeskTest(t, 1)
	now := at(2 * time.Second)
	known := reading{sent: at(0), received: at(time.Second), micros: serverAt(at(0))}
	w := d.waiter(now)
	ex := d.depart(now, known)
	d.leave(now.add(1), w, reasonCancelled)
	d.tick(ex.giveUp) // no reply
	passes := known.received.add(time.Duration(ex.notAfter-known.micros) * time.Microsecond)
	if next := d.next(); next.mono < passes.mono {
		t.Fatalf("released at %v, while the request may take a permit until %v", next, passes)
	}
	d.mustDepart(ex.lateBy, release)
}
