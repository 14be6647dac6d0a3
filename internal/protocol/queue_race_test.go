package protocol

import (
	"testing"
	"time"
)

// One test per race that the simulation met. Each is a sequence of calls of the state.

// heavy is a waiter that asks for weight permits.
func (d *stateTest) heavy(now Instant, weight int) *Waiter {
	w := &Waiter{Weight: weight, Done: make(chan struct{}), Holding: &Holding{Holder: reachable{}}}
	d.Ask(now, w)
	return w
}

// queued is a waiter that Redis has answered: it waits in the shared queue.
func (d *stateTest) queued(now Instant) *Waiter {
	d.Helper()
	w := d.waiter(now)
	ex := d.mustDepart(now, Acquire)
	run(ex, now, 0)
	d.Arrive(now, ex)
	d.mustWait(w)
	return w
}

// granting is the notification that tells of a grant which a script made at ran.
func granting(id string, ran Instant) Notification {
	return Notification{Verb: Granted, Expiry: expiryAt(ran), Token: serverAt(ran), Server: serverAt(ran), ID: id, Weight: 1}
}

// A line that moves up when all who may stand in the shared queue do so already has nothing to ask: the
// batch is left out. The next poll must not be left out with it: nothing else would ever set one.
func TestStateGoesOnPollingWhenAJoinAsksForNobody(t *testing.T) {
	d := newStateTest(t, 1)
	d.queued(at(0))
	last := d.queued(at(0))
	poll := d.pollAt
	d.joinAt = at(time.Millisecond) // as when somebody leaves while permits pass inside this process
	d.mustNotDepart(at(time.Millisecond))
	if d.pollAt != poll {
		t.Fatalf("the next poll is at %v, and was at %v", d.pollAt, poll)
	}
	ex := d.mustDepart(poll, Acquire)
	if got := ex.Calls[0].Grants; got[len(got)-1].waiter != last {
		t.Fatal("the poll leaves somebody out")
	}
}

// Between a slow reply and the renewal that comes before a lease on it, a poll has nobody to ask for.
func TestStateGoesOnPollingWhenAPollAsksForNobody(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), Acquire)
	run(ex, at(0), 1)
	slow := at(5 * time.Second) // less than two thirds of the window are left
	d.giveUp(ex.giveUp)
	d.Arrive(slow, ex)
	d.mustWait(w)
	d.pollAt = slow
	d.mustDepart(slow, Renew)
	if d.pollAt.IsZero() {
		t.Fatal("nobody polls any more")
	}
}

// A notification comes late and twice, when its grant has been used and given back. The first is answered with a
// release, because the grant could be another's; the second finds that release on the list, and must not
// make a lease of an id that Redis does not hold.
func TestStateMakesNoLeaseOfALatePushThatComesTwice(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.queued(at(0))
	id := w.grant.ID
	d.Notified(at(5*time.Millisecond), granting(id, at(5*time.Millisecond)))
	g := d.mustBeServed(w)
	d.Release(at(6*time.Millisecond), g.Holding)
	ex := d.mustDepart(at(6*time.Millisecond), Release)
	run(ex, at(6*time.Millisecond), 0)
	d.Arrive(at(7*time.Millisecond), ex)

	other := d.queued(at(40 * time.Millisecond))
	for range 3 {
		d.Notified(at(50*time.Millisecond), granting(id, at(5*time.Millisecond)))
	}
	d.mustWait(other)
	ex = d.mustDepart(at(50*time.Millisecond), Release, Acquire)
	d.Notified(at(60*time.Millisecond), granting(id, at(5*time.Millisecond))) // while the release is on its way
	d.mustWait(other)
	run(ex, at(60*time.Millisecond), 0)
	d.Arrive(at(70*time.Millisecond), ex)
	d.Notified(at(80*time.Millisecond), granting(id, at(5*time.Millisecond)))
	d.mustWait(other)
	if len(d.held) != 0 {
		t.Fatal("a lease was made of an id that was given back")
	}
}

// A lease ends by MaxHold, and its holder tears down. Meanwhile its state has nothing left to do and goes, and
// the next caller gets a new one. A notification for the grant that comes now, late or a second time, is of an id that
// the new state does not know: giving it back would take the permit away under its holder.
func TestStateLeavesAGrantAloneThatWasMadeBeforeItsTime(t *testing.T) {
	d := newStateTest(t, 1)
	d.Born = at(10 * time.Second)
	d.queued(at(11 * time.Second))
	d.Notified(at(12*time.Second), granting(idOf(99, 1), at(9*time.Second)))
	if len(d.releasing) != 0 {
		t.Fatal("a permit is given back that may be held")
	}
	d.Notified(at(12*time.Second), granting(idOf(99, 1), at(11*time.Second+100*time.Millisecond)))
	if len(d.releasing) != 1 {
		t.Fatal("a permit that nobody wants is not given back")
	}
	d.sample = clockSample{} // another server took over: nothing can be told
	d.Notified(at(12*time.Second), granting(idOf(98, 1), at(11*time.Second+100*time.Millisecond)))
	if len(d.releasing) != 1 {
		t.Fatal("a permit is given back, and nobody knows whose it is")
	}
}

// The reply that grants is lost, an operator revokes the grant, and the waiter asks again under the same
// id: Redis says so. Nobody has used it: it goes back, and the waiter gets another id.
func TestStateAsksUnderAnotherIDWhenItsOwnWasRevokedBeforeItKnew(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.queued(at(0))
	id := w.grant.ID
	ex := d.mustDepart(d.pollAt, Acquire)
	run(ex, ex.Sent, 0)
	ex.Calls[0].Answers[0].Expiry = answerRevoked
	now := ex.Sent.Add(time.Millisecond)
	d.Arrive(now, ex)
	d.mustWait(w)
	ex = d.mustDepart(now, Release, Acquire)
	if got := ex.Calls[0].Grants[0].ID; got != id {
		t.Fatalf("%s was given back, want %s", got, id)
	}
	if got := ex.Calls[1].Grants[0].ID; got == id {
		t.Fatal("the waiter asks under the id that was revoked")
	}
}

// A notification overtakes the reply that queued its waiter: the reply then says "waits", of somebody who holds.
func TestStateKeepsAGrantWhoseQueueingReplyComesAfterItsPush(t *testing.T) {
	d := newStateTest(t, 1)
	d.queued(at(0)) // so that there is a pair to measure by
	second := d.waiter(at(time.Millisecond))
	ex := d.mustDepart(at(time.Millisecond), Acquire)
	id := ex.Calls[0].Grants[len(ex.Calls[0].Grants)-1].ID
	d.Notified(at(2*time.Millisecond), granting(id, at(2*time.Millisecond)))
	g := d.mustBeServed(second)
	run(ex, at(time.Millisecond), 0)
	d.Arrive(at(3*time.Millisecond), ex)
	if g.State != Held {
		t.Fatalf("the late reply took the grant away: %+v", g)
	}
	d.Notified(at(4*time.Millisecond), granting(id, at(2*time.Millisecond))) // and once more
	if g.State != Held || len(d.releasing) != 0 {
		t.Fatal("a push for a grant that is held gave it back")
	}
}

// A hand-over overtakes a poll: what the poll asked for under the waiter's own id may still be granted.
// It has to be given back, and not before the request can take a permit no more.
func TestStateOwesWhatAHandOverLeavesInFlight(t *testing.T) {
	d := newStateTest(t, 1)
	g := d.acquired(at(0))
	w := d.waiter(at(time.Millisecond))
	ex := d.mustDepart(at(time.Millisecond), Acquire)
	own := ex.Calls[0].Grants[0]
	d.Release(at(2*time.Millisecond), g.Holding)
	if d.mustBeServed(w) != g {
		t.Fatal("the permit did not pass to the next")
	}
	if own.State != releasing {
		t.Fatalf("nobody owes what was asked for under %s: state %v", own.ID, own.State)
	}
	run(ex, at(time.Millisecond), 0)
	d.Arrive(at(3*time.Millisecond), ex)
	ex = d.mustDepart(at(time.Second), Release)
	if ex.Calls[0].Grants[0] != own || !ex.Calls[0].Queued {
		t.Fatal("its place in the queue is not given up")
	}
}

// While permits pass from caller to caller, others of the process must not be fed beyond Handover.
func TestStateHandsNothingOverWhenItsTimeIsUp(t *testing.T) {
	d := newStateTest(t, 1)
	g := d.acquired(at(0))
	w := d.waiter(at(time.Millisecond))
	ex := d.mustDepart(at(time.Millisecond), Acquire)
	run(ex, at(time.Millisecond), 0)
	d.Arrive(at(2*time.Millisecond), ex)
	d.Release(at(d.Config.Handover), g.Holding)
	d.mustWait(w)
	d.mustDepart(at(d.Config.Handover), Release, Acquire)
}

// A notification tells until when a grant lives by the server's clock. How long it travelled nobody knows: it is
// measured by the latest answer, and not from its receipt.
func TestStateTrustsALatePushForWhatIsLeftOfIt(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.queued(at(0))
	ran := at(time.Second)
	d.Notified(at(3*time.Second), granting(w.grant.ID, ran))
	g := d.mustBeServed(w)
	if want := ran.Add(testTTL - d.Config.Margin); g.Until.End().Mono > want.Mono+time.Millisecond {
		t.Fatalf("the window ends at %v, and Redis gives the permit away soon after %v", g.Until.End(), want)
	}
}

// A heavy waiter whose push of refusal comes while its poll is under way is told, and owes its place.
func TestStateRefusesWhatACapacityHasMadeImpossibleWhileItsPollIsOnItsWay(t *testing.T) {
	d := newStateTest(t, 4)
	w := d.heavy(at(0), 3)
	ex := d.mustDepart(at(0), Acquire)
	own := ex.Calls[0].Grants[0]
	d.Notified(at(time.Millisecond), Notification{Verb: Refused, Expiry: 2, Server: serverAt(at(time.Millisecond)), ID: own.ID})
	d.mustHaveFailed(w, TooHeavy, nil)
	run(ex, at(0), 1) // the capacity grew again before the request came
	d.Arrive(at(2*time.Millisecond), ex)
	ex = d.mustDepart(at(2*time.Millisecond), Release)
	if ex.Calls[0].Grants[0] != own {
		t.Fatal("the permit that nobody wants is not given back")
	}
}

// The same within one state: the lease has ended by MaxHold, and its holder has not released it.
func TestStateLeavesThePermitOfAnEndedLeaseAloneWhenItsPushComesLate(t *testing.T) {
	d := newStateTest(t, 2)
	w := d.queued(at(0))
	w.Holding.MaxHold = time.Second
	id := w.grant.ID
	d.Notified(at(5*time.Millisecond), granting(id, at(5*time.Millisecond)))
	g := d.mustBeServed(w)
	d.queued(at(time.Second)) // so that the state lives on
	d.Tick(at(2 * time.Second))
	if g.State != ended {
		t.Fatalf("MaxHold did not end it: %v", g.State)
	}
	d.Notified(at(2*time.Second), granting(id, at(5*time.Millisecond)))
	if len(d.releasing) != 0 {
		t.Fatal("the permit is given back under its holder")
	}
}

// The lifetime of the queue's keys is seen to by the request that waits there, and by none that was granted:
// who is alive may be left from an earlier wait, and about to expire.
func TestStateSeesToTheQueueOnceItWaitsThere(t *testing.T) {
	d := newStateTest(t, 2)
	d.acquired(at(0))
	w := d.waiter(at(1))
	ex := d.mustDepart(at(1), Acquire)
	if !ex.Calls[0].Refresh {
		t.Error("the first request that may wait does not see to the queue")
	}
	run(ex, at(1), 0)
	d.Arrive(at(1), ex)
	d.mustWait(w)
	d.waiter(at(2))
	d.pollAt = at(2)
	if ex := d.mustDepart(at(2), Acquire); ex.Calls[0].Refresh {
		t.Error("the next one sees to it again")
	}
}
