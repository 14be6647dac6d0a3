package lease

import (
	"testing"
	"time"
)

// One test per race that the simulation met. Each is a sequence of calls of the desk.

// heavy is a waiter that asks for weight permits.
func (d *deskTest) heavy(now instant, weight int) *waiter {
	w := &waiter{weight: weight, done: make(chan struct{}), hold: &holding{holder: reachable{}}}
	d.ask(now, w)
	return w
}

// queued is a waiter that Redis has answered: it waits in the shared queue.
func (d *deskTest) queued(now instant) *waiter {
	d.Helper()
	w := d.waiter(now)
	ex := d.mustDepart(now, acquire)
	run(ex, now, 0)
	d.arrive(now, ex)
	d.mustWait(w)
	return w
}

// granting is the push that tells of a grant which a script made at ran.
func granting(id string, ran instant) push {
	return push{verb: pushGrant, expiry: expiryAt(ran), token: serverAt(ran), server: serverAt(ran), id: id}
}

// A line that moves up when all who may stand in the shared queue do so already has nothing to ask: the
// exchange is left out. The next poll must not be left out with it: nothing else would ever set one.
func TestDeskGoesOnPollingWhenAJoinAsksForNobody(t *testing.T) {
	d := newDeskTest(t, 1)
	d.queued(at(0))
	last := d.queued(at(0))
	poll := d.pollAt
	d.joinAt = at(time.Millisecond) // as when somebody leaves while permits pass inside this process
	d.mustNotDepart(at(time.Millisecond))
	if d.pollAt != poll {
		t.Fatalf("the next poll is at %v, and was at %v", d.pollAt, poll)
	}
	ex := d.mustDepart(poll, acquire)
	if got := ex.calls[0].grants; got[len(got)-1].waiter != last {
		t.Fatal("the poll leaves somebody out")
	}
}

// Between a slow reply and the renewal that comes before a lease on it, a poll has nobody to ask for.
func TestDeskGoesOnPollingWhenAPollAsksForNobody(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.waiter(at(0))
	ex := d.mustDepart(at(0), acquire)
	run(ex, at(0), 1)
	slow := at(5 * time.Second) // less than two thirds of the window are left
	d.giveUp(ex.giveUp)
	d.arrive(slow, ex)
	d.mustWait(w)
	d.pollAt = slow
	d.mustDepart(slow, renew)
	if d.pollAt.isZero() {
		t.Fatal("nobody polls any more")
	}
}

// A push comes late and twice, when its grant has been used and given back. The first is answered with a
// release, because the grant could be another's; the second finds that release on the list, and must not
// make a lease of an id that Redis does not hold.
func TestDeskMakesNoLeaseOfALatePushThatComesTwice(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.queued(at(0))
	id := w.grant.id
	d.pushed(at(5*time.Millisecond), granting(id, at(5*time.Millisecond)))
	g := d.mustBeServed(w)
	d.release(at(6*time.Millisecond), g.hold)
	ex := d.mustDepart(at(6*time.Millisecond), release)
	run(ex, at(6*time.Millisecond), 0)
	d.arrive(at(7*time.Millisecond), ex)

	other := d.queued(at(40 * time.Millisecond))
	for range 3 {
		d.pushed(at(50*time.Millisecond), granting(id, at(5*time.Millisecond)))
	}
	d.mustWait(other)
	ex = d.mustDepart(at(50*time.Millisecond), release, acquire)
	d.pushed(at(60*time.Millisecond), granting(id, at(5*time.Millisecond))) // while the release is on its way
	d.mustWait(other)
	run(ex, at(60*time.Millisecond), 0)
	d.arrive(at(70*time.Millisecond), ex)
	d.pushed(at(80*time.Millisecond), granting(id, at(5*time.Millisecond)))
	d.mustWait(other)
	if len(d.held) != 0 {
		t.Fatal("a lease was made of an id that was given back")
	}
}

// A lease ends by MaxHold, and its holder tears down. Meanwhile its desk has nothing left to do and goes, and
// the next caller gets a new one. A push for the grant that comes now, late or a second time, is of an id that
// the new desk does not know: giving it back would take the permit away under its holder.
func TestDeskLeavesAGrantAloneThatWasMadeBeforeItsTime(t *testing.T) {
	d := newDeskTest(t, 1)
	d.born = at(10 * time.Second)
	d.queued(at(11 * time.Second))
	d.pushed(at(12*time.Second), granting(idOf(99, 1), at(9*time.Second)))
	if len(d.owed) != 0 {
		t.Fatal("a permit is given back that may be held")
	}
	d.pushed(at(12*time.Second), granting(idOf(99, 1), at(11*time.Second+100*time.Millisecond)))
	if len(d.owed) != 1 {
		t.Fatal("a permit that nobody wants is not given back")
	}
	d.pair = pair{} // another server took over: nothing can be told
	d.pushed(at(12*time.Second), granting(idOf(98, 1), at(11*time.Second+100*time.Millisecond)))
	if len(d.owed) != 1 {
		t.Fatal("a permit is given back, and nobody knows whose it is")
	}
}

// The reply that grants is lost, an operator revokes the grant, and the waiter asks again under the same
// id: Redis says so. Nobody has used it: it goes back, and the waiter gets another id.
func TestDeskAsksUnderAnotherIDWhenItsOwnWasRevokedBeforeItKnew(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.queued(at(0))
	id := w.grant.id
	ex := d.mustDepart(d.pollAt, acquire)
	run(ex, ex.sent, 0)
	ex.calls[0].answers[0].expiry = answerRevoked
	now := ex.sent.add(time.Millisecond)
	d.arrive(now, ex)
	d.mustWait(w)
	ex = d.mustDepart(now, release, acquire)
	if got := ex.calls[0].grants[0].id; got != id {
		t.Fatalf("%s was given back, want %s", got, id)
	}
	if got := ex.calls[1].grants[0].id; got == id {
		t.Fatal("the waiter asks under the id that was revoked")
	}
}

// A push overtakes the reply that queued its waiter: the reply then says "waits", of somebody who holds.
func TestDeskKeepsAGrantWhoseQueueingReplyComesAfterItsPush(t *testing.T) {
	d := newDeskTest(t, 1)
	d.queued(at(0)) // so that there is a pair to measure by
	second := d.waiter(at(time.Millisecond))
	ex := d.mustDepart(at(time.Millisecond), acquire)
	id := ex.calls[0].grants[len(ex.calls[0].grants)-1].id
	d.pushed(at(2*time.Millisecond), granting(id, at(2*time.Millisecond)))
	g := d.mustBeServed(second)
	run(ex, at(time.Millisecond), 0)
	d.arrive(at(3*time.Millisecond), ex)
	if g.state != held {
		t.Fatalf("the late reply took the grant away: %+v", g)
	}
	d.pushed(at(4*time.Millisecond), granting(id, at(2*time.Millisecond))) // and once more
	if g.state != held || len(d.owed) != 0 {
		t.Fatal("a push for a grant that is held gave it back")
	}
}

// A hand-over overtakes a poll: what the poll asked for under the waiter's own id may still be granted.
// It has to be given back, and not before the request can take a permit no more.
func TestDeskOwesWhatAHandOverLeavesInFlight(t *testing.T) {
	d := newDeskTest(t, 1)
	g := d.acquired(at(0))
	w := d.waiter(at(time.Millisecond))
	ex := d.mustDepart(at(time.Millisecond), acquire)
	own := ex.calls[0].grants[0]
	d.release(at(2*time.Millisecond), g.hold)
	if d.mustBeServed(w) != g {
		t.Fatal("the permit did not pass to the next")
	}
	if own.state != owed {
		t.Fatalf("nobody owes what was asked for under %s: state %v", own.id, own.state)
	}
	run(ex, at(time.Millisecond), 0)
	d.arrive(at(3*time.Millisecond), ex)
	ex = d.mustDepart(at(time.Second), release)
	if ex.calls[0].grants[0] != own || !ex.calls[0].queued {
		t.Fatal("its place in the queue is not given up")
	}
}

// While permits pass from caller to caller, others of the process must not be fed beyond Handover.
func TestDeskHandsNothingOverWhenItsTimeIsUp(t *testing.T) {
	d := newDeskTest(t, 1)
	g := d.acquired(at(0))
	w := d.waiter(at(time.Millisecond))
	ex := d.mustDepart(at(time.Millisecond), acquire)
	run(ex, at(time.Millisecond), 0)
	d.arrive(at(2*time.Millisecond), ex)
	d.release(at(d.cfg.Handover), g.hold)
	d.mustWait(w)
	d.mustDepart(at(d.cfg.Handover), release, acquire)
}

// A push tells until when a grant lives by the server's clock. How long it travelled nobody knows: it is
// measured by the latest answer, and not from its receipt.
func TestDeskTrustsALatePushForWhatIsLeftOfIt(t *testing.T) {
	d := newDeskTest(t, 1)
	w := d.queued(at(0))
	ran := at(time.Second)
	d.pushed(at(3*time.Second), granting(w.grant.id, ran))
	g := d.mustBeServed(w)
	if want := ran.add(testTTL - d.cfg.Margin); g.until.end().mono > want.mono+time.Millisecond {
		t.Fatalf("the window ends at %v, and Redis gives the permit away soon after %v", g.until.end(), want)
	}
}

// A heavy waiter whose push of refusal comes while its poll is under way is told, and owes its place.
func TestDeskRefusesWhatACapacityHasMadeImpossibleWhileItsPollIsOnItsWay(t *testing.T) {
	d := newDeskTest(t, 4)
	w := d.heavy(at(0), 3)
	ex := d.mustDepart(at(0), acquire)
	own := ex.calls[0].grants[0]
	d.pushed(at(time.Millisecond), push{verb: pushRefuse, expiry: 2, server: serverAt(at(time.Millisecond)), id: own.id})
	d.mustHaveFailed(w, tooHeavy, nil)
	run(ex, at(0), 1) // the capacity grew again before the request came
	d.arrive(at(2*time.Millisecond), ex)
	ex = d.mustDepart(at(2*time.Millisecond), release)
	if ex.calls[0].grants[0] != own {
		t.Fatal("the permit that nobody wants is not given back")
	}
}

// The same within one desk: the lease has ended by MaxHold, and its holder has not released it.
func TestDeskLeavesThePermitOfAnEndedLeaseAloneWhenItsPushComesLate(t *testing.T) {
	d := newDeskTest(t, 2)
	w := d.queued(at(0))
	w.hold.maxHold = time.Second
	id := w.grant.id
	d.pushed(at(5*time.Millisecond), granting(id, at(5*time.Millisecond)))
	g := d.mustBeServed(w)
	d.queued(at(time.Second)) // so that the desk lives on
	d.tick(at(2 * time.Second))
	if g.state != ended {
		t.Fatalf("MaxHold did not end it: %v", g.state)
	}
	d.pushed(at(2*time.Second), granting(id, at(5*time.Millisecond)))
	if len(d.owed) != 0 {
		t.Fatal("the permit is given back under its holder")
	}
}

// The lifetime of the queue's keys is seen to by the request that waits there, and by none that was granted:
// who is alive may be left from an earlier wait, and about to expire.
func TestDeskSeesToTheQueueOnceItWaitsThere(t *testing.T) {
	d := newDeskTest(t, 2)
	d.acquired(at(0))
	w := d.waiter(at(1))
	ex := d.mustDepart(at(1), acquire)
	if !ex.calls[0].refresh {
		t.Error("the first request that may wait does not see to the queue")
	}
	run(ex, at(1), 0)
	d.arrive(at(1), ex)
	d.mustWait(w)
	d.waiter(at(2))
	d.pollAt = at(2)
	if ex := d.mustDepart(at(2), acquire); ex.calls[0].refresh {
		t.Error("the next one sees to it again")
	}
}
