package protocol

import (
	"testing"
	"time"
)

// answer is a reading of a server whose clock is ahead of serverAt by offset. The call was sent at sent, ran a
// millisecond later, and its answer came after another.
func answered(sent Instant, offset time.Duration) Reading {
	ran := sent.Add(time.Millisecond)
	return Reading{Sent: sent, Received: ran.Add(time.Millisecond), Micros: serverAt(ran) + offset.Microseconds()}
}

const step = 500 * time.Millisecond

// mustLose checks what a step takes from the windows: it, and what the two answers leave open.
func mustLose(t *testing.T, what string, forward time.Duration, changed bool) {
	t.Helper()
	if !changed || forward < step || forward > step+10*time.Millisecond {
		t.Fatalf("%s takes %v from the windows (changed: %v), want %v", what, forward, changed, step)
	}
}

func mustLoseNothing(t *testing.T, what string, forward time.Duration, changed bool) {
	t.Helper()
	if changed || forward != 0 {
		t.Fatalf("%s takes %v from the windows (changed: %v), want nothing", what, forward, changed)
	}
}

func TestAStepThatWasHeardOfIsTakenOnce(t *testing.T) {
	var w ClockWatch
	w.Observe(answered(at(0), 0))
	forward, changed := w.Hear(answered(at(time.Second), step))
	mustLose(t, "the step", forward, changed)
	forward, changed = w.Hear(answered(at(2*time.Second), step))
	mustLoseNothing(t, "the same step, told again", forward, changed)
	forward, changed = w.Observe(answered(at(3*time.Second), step))
	mustLoseNothing(t, "the same step, seen", forward, changed)
	forward, changed = w.Hear(answered(at(4*time.Second), step))
	mustLoseNothing(t, "the same step, told afterwards", forward, changed)
	forward, changed = w.Observe(answered(at(5*time.Second), 2*step))
	mustLose(t, "the next step", forward, changed)
}

func TestTwoStepsBetweenTwoAnswersAreTakenOnceEach(t *testing.T) {
	var w ClockWatch
	w.Observe(answered(at(0), 0))
	w.Hear(answered(at(time.Second), step))
	forward, changed := w.Hear(answered(at(2*time.Second), 2*step))
	mustLose(t, "the second step", forward, changed)
	forward, changed = w.Observe(answered(at(3*time.Second), 3*step))
	mustLose(t, "the third", forward, changed)
}

// A proxy shows one address for several servers, whose clocks differ and step one by one.
func TestAStepOfANeighboursServerIsNoStepOfThisOne(t *testing.T) {
	var w ClockWatch
	w.Observe(answered(at(0), 0))
	w.Hear(answered(at(time.Second), step))
	for i := range 5 {
		forward, changed := w.Observe(answered(at(time.Duration(2+i)*time.Second), 0))
		mustLoseNothing(t, "an answer of its own server", forward, changed)
	}
	if w.heard.Micros != 0 || w.taken != 0 {
		t.Fatalf("%v of the step are left", w.taken)
	}
}

// The call ran before the step, and its answer came after the step had been told: its window is measured by the
// clock before.
func TestAnAnswerFromBeforeAStepMeasuresAShorterWindow(t *testing.T) {
	var w ClockWatch
	w.Observe(answered(at(0), 0))
	late := answered(at(time.Second), 0)
	late.Received = at(3 * time.Second)
	w.Hear(answered(at(2*time.Second), step))
	forward, changed := w.Observe(late)
	mustLoseNothing(t, "the answer from before the step", forward, changed)
	if by := w.AheadSince(late); by < step {
		t.Fatalf("its window is shorter by %v, want %v at least", by, step)
	}
	forward, changed = w.Observe(answered(at(4*time.Second), step))
	mustLoseNothing(t, "the step, seen", forward, changed)
	if by := w.AheadSince(answered(at(4*time.Second), step)); by != 0 {
		t.Fatalf("a window by the new clock is shorter by %v", by)
	}
	// And one that was given up, answered when its successor has shown the step.
	if by := w.AheadSince(late); by < step {
		t.Fatalf("the window of an attempt that was given up is shorter by %v, want %v at least", by, step)
	}
}

// The step is found by another semaphore while the first answer of all is on its way.
func TestTheFirstAnswerOfAllMayBeFromBeforeAStep(t *testing.T) {
	var w ClockWatch
	forward, changed := w.Hear(answered(at(time.Second), step))
	mustLoseNothing(t, "a step before the first answer", forward, changed)
	first := answered(at(time.Second-time.Millisecond), 0)
	first.Received = at(time.Second + 10*time.Millisecond)
	forward, changed = w.Observe(first)
	mustLoseNothing(t, "the first answer", forward, changed)
	if ahead := w.AheadSince(first); ahead < step || ahead > step+20*time.Millisecond {
		t.Errorf("the window that it measures is shorter by %v, want %v", ahead, step)
	}
	next := answered(at(2*time.Second), step)
	forward, changed = w.Observe(next)
	mustLoseNothing(t, "the next one", forward, changed)
	if ahead := w.AheadSince(next); ahead != 0 {
		t.Errorf("the next window is shorter by %v", ahead)
	}
}

func TestASlowAnswerHidesNoStep(t *testing.T) {
	var w ClockWatch
	w.Observe(answered(at(0), 0))
	slow := answered(at(time.Second), 0)
	slow.Received = at(3 * time.Second)
	forward, changed := w.Observe(slow)
	mustLoseNothing(t, "a slow answer", forward, changed)
	forward, changed = w.Observe(answered(at(4*time.Second), step))
	mustLose(t, "the step", forward, changed)
}

func TestASuspendedProcessFindsNoStep(t *testing.T) {
	var w ClockWatch
	w.Observe(answered(at(0), 0))
	for i := range 3 {
		ran := at(time.Duration(i+1) * time.Second)
		ran.Wall += time.Hour // only the wall clock went on
		r := answered(ran, time.Hour)
		r.Received = ran.Add(time.Second) // slower than the answer before
		forward, changed := w.Observe(r)
		mustLoseNothing(t, "an answer after the suspension", forward, changed)
		if notAfter := w.Newest().notAfter(ran.Add(time.Second)); notAfter < r.Micros {
			t.Fatal("a request is late before it is sent")
		}
	}
}

func TestALateAnswerThatShowsALaterTimeIsDoubted(t *testing.T) {
	late := func(offset time.Duration) Reading { // of an attempt that was given up, before the one that was observed
		r := answered(at(time.Second), offset)
		r.Received = at(4 * time.Second)
		return r
	}
	var w ClockWatch
	w.Observe(answered(at(2*time.Second), 0))
	for _, tc := range []struct {
		what string
		r    Reading
		want bool
	}{
		{"a late answer by the same clock", late(0), false},
		{"a late answer that shows a step ahead", late(time.Hour), true},
		{"a late answer from before a step ahead", late(-time.Hour), false},
		{"an answer in its turn", answered(at(3*time.Second), time.Hour), false},
	} {
		if got := w.Doubts(tc.r); got != tc.want {
			t.Errorf("%s: in doubt %v, want %v", tc.what, got, tc.want)
		}
	}
	w = ClockWatch{}
	w.Observe(answered(at(2*time.Second), 0))
	w.Hear(answered(at(3*time.Second), step))
	if w.Doubts(late(step)) {
		t.Error("a late answer is in doubt that shows a step which was heard of")
	}
}
