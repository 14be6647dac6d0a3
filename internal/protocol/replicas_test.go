package protocol

import "testing"

// A renewal that was sent when nobody wanted replicas is answered when the lease has a holder who does: it moves no window.
func TestALateRenewalFromBeforeReplicasWereWantedMovesNoWindow(t *testing.T) {
	s := newStateTest(t, 1)
	s.Watched = true
	g := s.acquired(at(0))
	s.RenewNow(at(0))
	renewal := s.mustDepart(at(0), Renew)
	s.Require(&Config{MinReplicas: 1})
	g.acknowledged, g.needs = 1, 1 // another batch, which overtook it, was acknowledged
	end := g.Until.End()
	run(renewal, at(0), 0)
	renewal.Calls[0].Expiry += 10_000
	s.Arrive(at(0), renewal)
	if g.State != Held || g.Until.End() != end {
		t.Errorf("state %v, the window ends at %v, ended at %v", g.State, g.Until.End(), end)
	}
	if missing, is := s.Trouble.(*Unacknowledged); !is || missing == nil || missing.Wanted != 1 || missing.Acknowledged != 0 {
		t.Errorf("the trouble is %v", s.Trouble)
	}
}
