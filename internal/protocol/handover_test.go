package protocol

import "testing"

// A permit is handed over from lease to lease, each with a larger token. The tokens must stay below that of a grant that
// Redis makes a microsecond later.
func TestStateHandsAPermitOverNoMoreOftenThanItsTokensAllow(t *testing.T) {
	s := newStateTest(t, 1)
	g := s.acquired(at(0))
	next := (&Grant{token: g.token + 1}).leaseToken()
	h, leases := g.Holding, 1
	for {
		w := s.waiter(at(1))
		s.Release(at(1), h)
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
