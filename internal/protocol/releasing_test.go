package protocol

import (
	"fmt"
	"testing"
	"time"
)

// In an outage, a release is tried until the permit has expired, and not for ever.
func TestStateDropsReleasesOfPermitsThatHaveExpired(t *testing.T) {
	s := newStateTest(t, 1)
	w := s.waiter(at(0))
	batch := s.mustDepart(at(0), Acquire)
	s.Leave(at(1), w, ReasonCancelled)
	fail(batch, errNet)
	s.Arrive(at(2), batch)
	for now := s.Next(); !s.Idle(); now = s.Next() {
		if now.Reached(at(3 * testTTL)) {
			t.Fatal("a release is tried for ever")
		}
		s.Tick(now)
		if batch := s.Depart(now, Reading{}); batch != nil {
			fail(batch, errNet)
			s.Arrive(now, batch)
		}
	}
}

// After a step back of the server's clock a window can be longer than two TTLs. The caller of Release gets its answer
// before the state forgets the permit.
func TestStateAnswersAReleaseBeforeItForgetsIt(t *testing.T) {
	s := newStateTest(t, 1)
	g := s.acquired(at(0))
	g.Until.set(at(10 * testTTL))
	h := g.Holding
	h.Confirmed = make(chan struct{})
	s.Release(at(1), h)
	for now := at(1); !s.Idle(); now = s.Next() {
		s.Tick(now)
		if batch := s.Depart(now, Reading{}); batch != nil {
			fail(batch, errNet)
			s.Arrive(now, batch)
		}
	}
	<-h.Confirmed
}

func TestStateGivesBackWithinASecondAfterAnOutageWhateverTheTTL(t *testing.T) {
	for _, ttl := range []time.Duration{2 * time.Second, 5 * time.Minute, time.Hour, 24 * time.Hour} {
		for _, outage := range []time.Duration{3 * time.Second, time.Minute} {
			t.Run(fmt.Sprint(ttl, outage), func(t *testing.T) {
				s := newStateTest(t, 1)
				s.Config.TTL, s.Config.Margin = ttl, ttl/20
				s.Window, s.longestTTL = s.Config.TTL-s.Config.Margin, ttl
				w := s.waiter(at(0))
				batch := s.mustDepart(at(0), Acquire)
				run(batch, at(0), 1)
				batch.Calls[0].Answers[0].Expiry = serverAt(at(0))/1000 + ttl.Milliseconds()
				s.Arrive(at(0), batch)
				s.Release(at(0), s.mustBeServed(w).Holding)
				now, back := at(0), at(outage)
				for !now.Reached(back) {
					s.Tick(now)
					if s.Idle() {
						if outage <= 2*ttl {
							t.Fatalf("no release is tried after %v, and Redis may count the permit", now.Mono-at(0).Mono)
						}
						return // the outage was longer than the permit lived
					}
					if batch := s.Depart(now, Reading{}); batch != nil {
						fail(batch, errNet)
						s.Arrive(now, batch)
					}
					now = s.Next()
				}
				if late := back.Until(now); late > time.Second {
					t.Errorf("given back %v after the outage, want a second at most", late)
				}
			})
		}
	}
}

// A request that was given up may take a permit as late as its limit allows. The server cannot be reached until that
// permit has expired: the release is tried for as long.
func TestStateTriesAReleaseAgainForAsLongAsRedisMayCountThePermit(t *testing.T) {
	s := newStateTest(t, 1)
	w := s.waiter(at(0))
	batch := s.mustDepart(at(0), Acquire)
	s.Leave(at(1), w, ReasonCancelled)
	s.Tick(batch.giveUp)
	end := batch.refusedAfter.Add(testTTL)
	for now := s.Next(); !now.Reached(end); now = s.Next() {
		if batch := s.Depart(now, Reading{}); batch != nil {
			fail(batch, errNet)
			s.Arrive(now, batch)
		}
		if s.Idle() {
			t.Fatalf("no release is sent after %v, and the permit counts until %v", now, end)
		}
	}
}

// The answer by which the server's clock is known took a second. If the clock was read at the end of that second, it is
// a second behind what it would show if it had been read at the begin.
func TestStateReleasesWhenTheServersClockMustHavePassedTheLimitOfTheRequest(t *testing.T) {
	s := newStateTest(t, 1)
	now := at(2 * time.Second)
	known := Reading{Sent: at(0), Received: at(time.Second), Micros: serverAt(at(0))}
	w := s.waiter(now)
	batch := s.Depart(now, known)
	s.Leave(now.Add(1), w, ReasonCancelled)
	s.Tick(batch.giveUp) // no reply
	passes := known.Received.Add(time.Duration(batch.NotAfter-known.Micros) * time.Microsecond)
	if next := s.Next(); next.Mono < passes.Mono {
		t.Fatalf("released at %v, while the request may take a permit until %v", next, passes)
	}
	s.mustDepart(batch.refusedAfter, Release)
}
