package protocol

import "testing"

func TestStateServesAWaiterAndForgetsItsPermitAfterTheRelease(t *testing.T) {
	s := newStateTest(t, 1)
	g := s.acquired(at(0))
	if g.State != Held || g.Holding.Token != serverAt(at(0))*maxHandovers {
		t.Fatalf("grant %+v", g)
	}
	s.Release(at(1), g.Holding)
	batch := s.mustDepart(at(1), Release)
	run(batch, at(1), 0)
	s.Arrive(at(1), batch)
	if !s.Idle() || g.State != gone {
		t.Fatalf("something is left: %+v", s.State)
	}
}
