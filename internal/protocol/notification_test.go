package protocol

import (
	"testing"
	"time"
)

// mustOnlyPoll passes p to the state, which has nothing to measure it by: it asks Redis instead.
func (d *stateTest) mustOnlyPoll(now Instant, p Notification) {
	d.Helper()
	d.Notified(now, p)
	if len(d.held) > 0 {
		d.Fatalf("the push made a lease that is trusted until %v", d.held[0].Until.End())
	}
	if d.pollAt != now {
		d.Fatalf("the next poll is at %v, want %v, when the push came", d.pollAt, now)
	}
	d.mustDepart(now, Acquire)
}

// After trouble another server may have taken over, whose clock is another.
func TestStateMeasuresNoPushByAnAnswerFromBeforeTrouble(t *testing.T) {
	for _, tc := range []struct {
		name string
		fail func(*stateTest, *Batch) Instant
	}{
		{"an error", func(d *stateTest, ex *Batch) Instant {
			now := ex.Sent.Add(time.Millisecond)
			fail(ex, errNet)
			d.Arrive(now, ex)
			return now
		}},
		{"no answer", func(d *stateTest, ex *Batch) Instant {
			d.Tick(ex.giveUp)
			return ex.giveUp
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			d := newStateTest(t, 1)
			w := d.queued(at(0))
			now := tc.fail(d, d.mustDepart(d.pollAt, Acquire))
			d.mustOnlyPoll(now, granting(w.grant.ID, now))
		})
	}
}

// The server's clock may have been set since an old answer, and nobody has noticed.
func TestStateMeasuresNoPushByAnOldAnswer(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.queued(at(0))
	d.mustOnlyPoll(at(testTTL), granting(w.grant.ID, at(testTTL)))
}

// By the clock of the latest answer this push comes from the future.
func TestStateMeasuresNoPushByTheAnswerOfAnotherClock(t *testing.T) {
	d := newStateTest(t, 1)
	w := d.queued(at(0))
	d.mustOnlyPoll(at(time.Second), granting(w.grant.ID, at(time.Second+step)))
}
