package protocol

import (
	"testing"
	"time"
)

// A process that had handed its permit over, and had given it back since, let its next caller wait for the
// end of a hand-over that could not come: for up to 10 ms it had no place in the shared queue, while a free
// permit stood idle, or went to others again and again.
func TestStateAsksAtOnceWhenItHoldsNothingToHandOver(t *testing.T) {
	const ms = time.Millisecond
	d := newStateTest(t, 1)
	d.acquired(at(0))
	g := d.held[0]
	first := g.Holding
	second := d.waiter(at(ms))
	ex := d.mustDepart(at(ms), Acquire)
	run(ex, at(ms), 0) // it has a place in the queue
	d.Arrive(at(ms), ex)
	d.Release(at(2*ms), first)
	if d.mustBeServed(second) != g {
		t.Fatal("the permit was not handed over")
	}
	d.Release(at(6*ms), second.Holding)
	ex = d.mustDepart(at(6*ms), Release)
	run(ex, at(6*ms), 0)
	d.Arrive(at(6*ms), ex)
	d.waiter(at(7 * ms))
	d.mustDepart(at(7*ms), Acquire)
}

// The tokens of one grant's leases must stay below that of a grant a microsecond later.
func TestStateHandsAPermitOverNoMoreOftenThanItsTokensAllow(t *testing.T) {
	d := newStateTest(t, 1)
	g := d.acquired(at(0))
	next := (&Grant{token: g.token + 1}).leaseToken()
	h, leases := g.Holding, 1
	for {
		w := d.waiter(at(1))
		d.Release(at(1), h)
		if w.inWaitlist {
			break
		}
		h, leases = w.Holding, leases+1
		if h.Token >= next {
			t.Fatalf("the lease number %d of one grant has the token %d, the first of the next grant has %d", leases, h.Token, next)
		}
	}
	if leases != maxHandovers {
		t.Errorf("%d leases of one grant, want %d", leases, maxHandovers)
	}
}

// A step of the server's clock has taken most of the window: whoever gets the permit now would soon lose it.
func TestStateHandsNoPermitOverThatHasLittleLeft(t *testing.T) {
	d := newStateTest(t, 1)
	g := d.acquired(at(0))
	w := d.waiter(at(1))
	d.Shorten(at(1), d.Window*2/3)
	d.Release(at(2), g.Holding)
	if !w.inWaitlist {
		t.Fatalf("a permit was handed over that is trusted for %v more, of %v", at(2).Until(g.Until.End()), d.Window)
	}
	d.mustDepart(at(2), Release, Acquire)
}
