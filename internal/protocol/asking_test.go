package protocol

import (
	"fmt"
	"testing"
	"time"
)

func TestStatePollsForAllWaitersInOneCall(t *testing.T) {
	s := newStateTest(t, 3)
	for range 10 {
		s.waiter(at(0))
	}
	batch := s.mustDepart(at(0), Acquire)
	if n := len(batch.Calls[0].Grants); n != 4 {
		t.Fatalf("asked for %d, want as many as could be served and one more", n)
	}
	run(batch, at(0), 0)
	s.Arrive(at(0), batch)
	s.mustNotDepart(at(s.Config.RetryInterval / 2))
	s.mustDepart(at(s.Config.RetryInterval), Acquire)
}

// Redis may have kept the number although the answer to the poll that told it was lost.
func TestStateCorrectsHowManyCallersWaitAfterALostAnswer(t *testing.T) {
	s := newStateTest(t, 1)
	_, waiting := s.contended(1, 5)
	now := at(0)
	poll := func() *Batch {
		t.Helper()
		now = s.pollAt
		return s.mustDepart(now, Acquire)
	}
	answered := func(batch *Batch, callers int) {
		t.Helper()
		if got := batch.Calls[0].Callers; got != callers {
			t.Fatalf("told that %d callers wait, want %d", got, callers)
		}
		run(batch, now, 0)
		s.Arrive(now, batch)
	}
	for _, w := range waiting[2:] {
		s.Leave(now, w, ReasonCancelled)
	}
	answered(poll(), allHavePlaces)
	answered(poll(), 0) // there is nothing to tell any more

	more := []*Waiter{s.waiter(now), s.waiter(now)}
	lost := poll()
	if got := lost.Calls[0].Callers; got != 4 {
		t.Fatalf("told that %d callers wait, want 4", got)
	}
	fail(lost, errNet)
	s.Arrive(now, lost)
	for _, w := range more {
		s.Leave(now, w, ReasonCancelled)
	}
	now = now.Add(time.Minute)
	answered(s.mustDepart(now, Acquire), allHavePlaces)
	answered(poll(), 0)
}

// A poll whose requests are all granted leaves in Redis what was told before.
func TestStateTellsHowManyCallersWaitUntilRedisHasKeptIt(t *testing.T) {
	s := newStateTest(t, 1)
	_, waiting := s.contended(1, 5)
	for _, w := range waiting[1:] {
		s.Leave(at(0), w, ReasonCancelled)
	}
	now := s.pollAt
	batch := s.Depart(now, Reading{}) // it also releases the places of those who have left
	if got := batch.Calls[len(batch.Calls)-1].Callers; got != allHavePlaces {
		t.Fatalf("told that %d callers wait, want %d", got, allHavePlaces)
	}
	run(batch, now, 1) // the permit was free
	s.Arrive(now, batch)
	s.mustBeServed(waiting[0])

	s.waiter(now)
	batch = s.Depart(now, Reading{})
	run(batch, now, 0)
	s.Arrive(now, batch)
	batch = s.Depart(s.pollAt, Reading{})
	if got := batch.Calls[len(batch.Calls)-1].Callers; got != allHavePlaces {
		t.Fatalf("after a poll that was granted, told that %d callers wait, want %d", got, allHavePlaces)
	}
}

func TestStateAsksNotAfterTheAttemptIsGivenUp(t *testing.T) {
	s := newStateTest(t, 1)
	s.waiter(at(time.Second))
	known := Reading{Sent: at(0), Received: at(0), Micros: serverAt(at(0))}
	batch := s.Depart(at(time.Second), known)
	giveUp := serverAt(at(time.Second).Add(testTTL / 8))
	if batch.NotAfter < giveUp || batch.NotAfter > giveUp+10_000 {
		t.Fatalf("notAfter = %d, want just after %d", batch.NotAfter, giveUp)
	}
}

// contended has callers hold all permits, one each, and others wait. Nothing is handed over.
func (s *stateTest) contended(capacity, waiters int) (holders, waiting []*Waiter) {
	s.Helper()
	s.Config.Handover = -1
	for range capacity {
		holders = append(holders, s.waiter(at(0)))
	}
	batch := s.Depart(at(0), Reading{})
	run(batch, at(0), maxIDs)
	s.Arrive(at(0), batch)
	for range waiters {
		waiting = append(waiting, s.waiter(at(0)))
	}
	batch = s.Depart(at(0), Reading{})
	run(batch, at(0), 0)
	for i := range batch.Calls {
		batch.Calls[i].Occupancy.Capacity = capacity
	}
	s.Arrive(at(0), batch)
	for _, w := range holders {
		s.mustBeServed(w)
	}
	for _, w := range waiting {
		s.mustWait(w)
	}
	return holders, waiting
}

// asksFor counts the waiters that batch asks for.
func asksFor(batch *Batch) (n int) {
	for i := range batch.Calls {
		if c := &batch.Calls[i]; c.Verb == Acquire {
			n += len(c.Grants)
		}
	}
	return n
}

func TestStateAsksWithAReleaseForThoseThatCanBeServedAndOneMore(t *testing.T) {
	for _, waiters := range []int{1, 100, 1000} {
		t.Run(fmt.Sprint(waiters), func(t *testing.T) {
			s := newStateTest(t, 1000)
			holders, waiting := s.contended(1000, waiters)
			poll := s.pollAt
			now := at(time.Millisecond)
			s.Release(now, holders[0].Holding)
			batch := s.mustDepart(now, Release, Acquire)
			if n, want := asksFor(batch), min(waiters, 2); n != want {
				t.Errorf("a release of one permit asks for %d waiters, want %d", n, want)
			}
			if g := batch.Calls[1].Grants[0]; g.waiter != waiting[0] {
				t.Error("it does not ask for the waiter that came first")
			}
			if waiters > 2 && s.pollAt != poll {
				t.Errorf("the poll of the others moved from %v to %v", poll, s.pollAt)
			}
			run(batch, now, 1)
			if o := batch.Calls[1].Occupancy; o != nil {
				o.Capacity = 1000
			}
			s.Arrive(now, batch)
			s.mustBeServed(waiting[0])
			for _, h := range holders[1:4] {
				s.Release(now, h.Holding)
			}
			batch = s.mustDepart(now, []Verb{Release, Acquire}[:min(waiters, 2)]...)
			if n, want := asksFor(batch), min(waiters-1, 4); n != want {
				t.Errorf("a release of three permits asks for %d waiters, want %d", n, want)
			}
		})
	}
}

// A poll asks for all waiters that are in the shared queue. It comes at its time, although permits are released all the
// time.
func TestStatePollsForAllWhilePermitsAreReleased(t *testing.T) {
	s := newStateTest(t, 10)
	holders, _ := s.contended(10, 10)
	for i, h := range holders {
		now := at(time.Duration(i+1) * s.Config.RetryInterval / 5)
		s.Release(now, h.Holding)
		batch := s.Depart(now, Reading{})
		if asksFor(batch) > 2 {
			if asksFor(batch) < 5 {
				t.Fatalf("the poll asks for %d", asksFor(batch))
			}
			return
		}
		run(batch, now, 1)
		batch.Calls[1].Occupancy.Capacity = 10
		s.Arrive(now, batch)
	}
	t.Fatal("nobody polls")
}

// One lease of weight 3 is released, and waiters of weight 1 wait: the batch asks for as many as the permits can serve,
// and one more.
func TestStateAsksByWeight(t *testing.T) {
	s := newStateTest(t, 5)
	s.Config.Handover = -1
	heavy := s.heavy(at(0), 3)
	batch := s.mustDepart(at(0), Acquire)
	run(batch, at(0), 1)
	s.Arrive(at(0), batch)
	g := s.mustBeServed(heavy)
	for range 6 {
		s.waiter(at(0))
	}
	batch = s.mustDepart(at(0), Acquire)
	run(batch, at(0), 0)
	batch.Calls[0].Occupancy.Capacity = 5
	s.Arrive(at(0), batch)
	s.Release(at(1), g.Holding)
	if batch = s.mustDepart(at(1), Release, Acquire); asksFor(batch) != 4 {
		t.Errorf("a release of three permits asks for %d waiters of one each, want 4", asksFor(batch))
	}
}
