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

// The tokens of one grant's leases must stay below that of a grant a microsecond later.
func TestDeskHandsAPermitOverNoMoreOftenThanItsTokensAllow(t *testing.T) {
	d := newDeskTest(t, 1)
	g := d.acquired(at(0))
	next := (&grant{token: g.token + 1}).leaseToken()
	h, leases := g.hold, 1
	for {
		w := d.waiter(at(1))
		d.release(at(1), h)
		if w.inLine {
			break
		}
		h, leases = w.hold, leases+1
		if h.token >= next {
			t.Fatalf("the lease number %d of one grant has the token %d, the first of the next grant has %d", leases, h.token, next)
		}
	}
	if leases != maxHandovers {
		t.Errorf("%d leases of one grant, want %d", leases, maxHandovers)
	}
}

// A step of the server's clock has taken most of the window: whoever gets the permit now would soon lose it.
func TestDeskHandsNoPermitOverThatHasLittleLeft(t *testing.T) {
	d := newDeskTest(t, 1)
	g := d.acquired(at(0))
	w := d.waiter(at(1))
	d.shorten(at(1), d.window*2/3)
	d.release(at(2), g.hold)
	if !w.inLine {
		t.Fatalf("a permit was handed over that is trusted for %v more, of %v", at(2).until(g.until.end()), d.window)
	}
	d.mustDepart(at(2), release, acquire)
}
