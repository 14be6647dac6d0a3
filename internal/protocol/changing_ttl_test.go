package protocol

import (
	"testing"
	"time"
)

// A permit is never extended past what Redis knows to be somebody's TTL: after a step back of the server's clock, others
// draw in what lies further ahead.

func (s *stateTest) reconfigure(now Instant, ttl time.Duration) {
	cfg := configOf(1, ttl)
	s.Reconfigure(now, &cfg)
}

// mustSay checks the TTL of a batch's only call.
func (s *stateTest) mustSay(batch *Batch, ttl time.Duration) {
	s.Helper()
	if got := time.Duration(batch.Calls[0].TTL) * time.Millisecond; got != ttl {
		s.Fatalf("%v says %v, want %v", batch.Calls[0].Verb, got, ttl)
	}
}

func TestALongerTTLIsInForceOnceRedisKnowsIt(t *testing.T) {
	for name, granted := range map[string]int{"by a grant": 1, "by a place in the queue": 0} {
		t.Run(name, func(t *testing.T) {
			s := newStateTest(t, 2)
			s.acquired(at(0))
			s.reconfigure(at(0), 2*testTTL)
			s.RenewNow(at(0))
			renewal := s.mustDepart(at(0), Renew)
			s.mustSay(renewal, testTTL)
			s.waiter(at(0)) // while the renewal is under way
			run(renewal, at(0), 0)
			s.Arrive(at(0), renewal)
			acquire := s.mustDepart(at(0), Acquire)
			s.mustSay(acquire, 2*testTTL)
			if !acquire.Calls[0].Refresh {
				t.Error("it does not have Redis note the TTL")
			}
			fail(acquire, errNet) // Redis may have run it or not
			s.Arrive(at(0), acquire)
			s.RenewNow(at(0))
			renewal = s.mustDepart(at(0), Renew)
			s.mustSay(renewal, testTTL)
			run(renewal, at(0), 0)
			s.Arrive(at(0), renewal)

			s.waiter(at(time.Second))
			acquire = s.mustDepart(at(time.Second), Acquire)
			run(acquire, at(time.Second), granted)
			s.Arrive(at(time.Second), acquire)
			s.RenewNow(at(time.Second))
			s.mustSay(s.mustDepart(at(time.Second), Renew), 2*testTTL)
			if want := 2*testTTL - configOf(1, 2*testTTL).Margin; s.Window != want {
				t.Errorf("a window is %v long, want %v", s.Window, want)
			}
		})
	}
}

// With MinReplicas a failover must not undo what a renewal goes by: others would draw in what is renewed by the longer TTL.
func TestALongerTTLIsInForceOnceReplicasKnowIt(t *testing.T) {
	s := newStateTest(t, 1)
	g := s.acquired(at(0))
	s.waiter(at(0))
	first := s.mustDepart(at(0), Acquire)
	run(first, at(0), 0)
	s.Arrive(at(0), first) // it is in the queue already
	s.Require(&Config{MinReplicas: 1})
	g.needs = 1
	s.reconfigure(at(0), 2*testTTL)
	for range 2 { // the first poll is acknowledged by nobody
		now := s.pollAt
		poll := s.mustDepart(now, Acquire)
		s.mustSay(poll, 2*testTTL)
		if !poll.Calls[0].Refresh {
			t.Fatal("it does not have Redis note the TTL")
		}
		if s.Config.TTL != testTTL {
			t.Fatalf("%v is in force before a replica knows it", s.Config.TTL)
		}
		run(poll, now, 0)
		s.Arrive(now, poll)
		if s.Config.TTL != testTTL {
			t.Fatalf("%v is in force, and no replica knows it", s.Config.TTL)
		}
	}
	now := s.pollAt
	poll := s.mustDepart(now, Acquire)
	run(poll, now, 0)
	poll.Acknowledged = 1
	s.Arrive(now, poll)
	if s.Config.TTL != 2*testTTL {
		t.Errorf("%v is in force, and a replica knows of %v", s.Config.TTL, 2*testTTL)
	}
}

// refusedAfterARaise holds a permit, has come to declare a longer TTL, and has refused a caller who does not wait.
func refusedAfterARaise(t *testing.T) *stateTest {
	s := newStateTest(t, 1)
	s.acquired(at(0))
	s.reconfigure(at(0), 2*testTTL)
	w := &Waiter{Weight: 1, Once: true, Done: make(chan struct{}), Holding: &Holding{Holder: reachable{}}}
	s.Ask(at(0), w)
	acquire := s.mustDepart(at(0), Acquire)
	run(acquire, at(0), 0)
	s.Arrive(at(0), acquire)
	return s
}

// A request that does not wait, and is refused, leaves nothing in Redis.
func TestARefusalDeclaresNoTTL(t *testing.T) {
	s := refusedAfterARaise(t)
	s.RenewNow(at(0))
	s.mustSay(s.mustDepart(at(0), Renew), testTTL)
}

// Nor does it see to the queue's lifetime: who waits next has Redis note the TTL.
func TestARefusalOfWhoDoesNotWaitSeesToNothing(t *testing.T) {
	s := refusedAfterARaise(t)
	s.waiter(at(time.Second))
	if acquire := s.mustDepart(at(time.Second), Acquire); !acquire.Calls[0].Refresh {
		t.Error("the next call does not have Redis note the TTL")
	}
}

// An answer to what was sent with the TTL of before says nothing of the new one.
func TestAnAnswerToARequestOfBeforeDeclaresNoNewTTL(t *testing.T) {
	s := newStateTest(t, 2)
	s.acquired(at(0))
	s.waiter(at(0))
	before := s.mustDepart(at(0), Acquire)
	s.reconfigure(at(0), 2*testTTL)
	run(before, at(0), 1)
	s.Arrive(at(0), before)
	s.RenewNow(at(0))
	s.mustSay(s.mustDepart(at(0), Renew), testTTL)
}

func TestALongerTTLIsInForceAtOnceWhereNothingIsHeld(t *testing.T) {
	s := newStateTest(t, 1)
	s.reconfigure(at(0), 2*testTTL)
	if want := 2*testTTL - configOf(1, 2*testTTL).Margin; s.Window != want {
		t.Errorf("a window is %v long, want %v", s.Window, want)
	}
}

func TestALongerTTLIsInForceWithTheNextCallerWhenAllIsGivenBack(t *testing.T) {
	s := newStateTest(t, 1)
	g := s.acquired(at(0))
	s.reconfigure(at(0), 2*testTTL)
	s.Release(at(0), g.Holding)
	release := s.mustDepart(at(0), Release)
	run(release, at(0), 0)
	s.Arrive(at(0), release)
	s.waiter(at(time.Second))
	if want := 2*testTTL - configOf(1, 2*testTTL).Margin; s.Window != want {
		t.Errorf("a window is %v long, want %v", s.Window, want)
	}
}

// An answer to what was sent before the TTL was wanted last, in between made shorter and forgotten by Redis, says nothing.
func TestAnAnswerOfAnEarlierWishDeclaresNothing(t *testing.T) {
	s := newStateTest(t, 2)
	s.acquired(at(0))
	s.reconfigure(at(0), 2*testTTL)
	s.waiter(at(0))
	early := s.mustDepart(at(0), Acquire)
	s.Tick(early.giveUp)
	s.reconfigure(at(2*time.Second), testTTL)
	s.reconfigure(at(2*time.Second), 2*testTTL)
	run(early, at(0), 0)
	s.Arrive(at(3*time.Second), early)
	s.RenewNow(at(3 * time.Second))
	if batch := s.Depart(at(3*time.Second), Reading{}); batch.Calls[0].Verb != Renew || batch.Calls[0].TTL != testTTL.Milliseconds() {
		t.Errorf("%v says %d ms", batch.Calls[0].Verb, batch.Calls[0].TTL)
	}
}

// When a longer TTL comes into force, windows are left that are short. They are renewed at once, an attempt may take no
// longer than they allow, and an answer to a renewal of before puts the next one off for no longer than it could before.
func TestALongerTTLDoesNotPutOffWhatHasAShortWindow(t *testing.T) {
	s := newStateTest(t, 2)
	g := s.acquired(at(0))
	s.reconfigure(at(0), 100*testTTL)
	s.waiter(at(0))
	acquire := s.mustDepart(at(0), Acquire)
	s.Tick(acquire.giveUp)
	now := acquire.giveUp
	s.RenewNow(now)
	before := s.Depart(now, Reading{})
	if before.Calls[0].Verb != Renew {
		t.Fatalf("sent %v", before.Calls)
	}
	run(acquire, at(0), 0)
	s.Arrive(now, acquire) // the longer TTL is in force
	run(before, now, 0)
	s.Arrive(now, before)
	next := s.mustDepart(now, Renew)
	s.mustSay(next, 100*testTTL)
	if took := next.giveUp.Mono - next.Sent.Mono; took > testTTL/8 {
		t.Errorf("an attempt may take %v, and the window is %v long", took, g.Until.End().Mono-now.Mono)
	}
	run(next, now, 0)
	s.Arrive(now, next)
	if next := s.RenewAt.Mono - now.Mono; next < 10*testTTL {
		t.Errorf("the next renewal is due in %v", next)
	}
}
