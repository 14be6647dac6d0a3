package lease

import (
	"testing"
	"time"
)

// A process that had handed its permit over, and had given it back since, let its next caller wait for the
// end of a hand-over that could not come: for up to 10 ms it had no place in the shared queue, while a free
// permit stood idle, or went to others again and again.
func TestDeskAsksAtOnceWhenItHoldsNothingToHandOver(t *testing.T) {
	const ms = time.Millisecond
	d := newDeskTest(t, 1)
	d.acquired(at(0))
	g := d.held[0]
	first := g.hold
	second := d.waiter(at(ms))
	ex := d.mustDepart(at(ms), acquire)
	run(ex, at(ms), 0) // it has a place in the queue
	d.arrive(at(ms), ex)
	d.release(at(2*ms), first)
	if d.mustBeServed(second) != g {
		t.Fatal("the permit was not handed over")
	}
	d.release(at(6*ms), second.hold)
	ex = d.mustDepart(at(6*ms), release)
	run(ex, at(6*ms), 0)
	d.arrive(at(6*ms), ex)
	d.waiter(at(7 * ms))
	d.mustDepart(at(7*ms), acquire)
}
