package protocol

import (
	"testing"
	"time"
)

func TestReadingsThatContradictEachOtherShowAJump(t *testing.T) {
	first := Reading{Sent: at(0), Received: at(10 * time.Millisecond), Micros: 1_000_000_000}
	next := func(micros int64) Reading {
		return Reading{Sent: at(time.Second), Received: at(time.Second + 10*time.Millisecond), Micros: micros}
	}
	for _, tc := range []struct {
		name    string
		later   Reading
		changed bool
		forward time.Duration
	}{
		{"in step", next(1_001_000_000), false, 0},
		{"as early as it can be", next(1_000_990_000), false, 0},
		{"as late as it can be", next(1_001_010_000), false, 0},
		{"ahead by five seconds", next(1_006_000_000), true, 5*time.Second + 10*time.Millisecond},
		{"back by five seconds", next(996_000_000), true, 0},
	} {
		forward, changed := first.Jump(tc.later)
		if changed != tc.changed || forward != tc.forward {
			t.Errorf("%s: jump = %v, %v; want %v, %v", tc.name, forward, changed, tc.forward, tc.changed)
		}
	}
	if _, changed := (Reading{}).Jump(first); changed {
		t.Error("the first reading contradicts nothing")
	}
}

func TestNotAfterIsNoEarlierThanAnyClockThatFits(t *testing.T) {
	r := Reading{Sent: at(0), Received: at(10 * time.Millisecond), Micros: 1_000_000_000}
	giveUp := at(time.Second)
	notAfter := r.notAfter(giveUp)
	// The server may have read its clock at once: then it shows this at giveUp.
	if fastest := int64(1_001_000_000); notAfter < fastest {
		t.Errorf("notAfter = %d, would refuse a request in time: %d", notAfter, fastest)
	}
	// It may have read it just before the reply: then it passes notAfter this late.
	slowest := r.Received.Add(time.Duration(notAfter-r.Micros) * time.Microsecond)
	if late := r.surelyAfter(notAfter); late.Mono < slowest.Mono {
		t.Errorf("surelyAfter = %v, the server may pass notAfter only at %v", late, slowest)
	}
	if (Reading{}).notAfter(giveUp) != 0 {
		t.Error("without a reading there is no limit to give")
	}
}

// A clock that is slewed runs fast or slow by one part in 2000.
func TestTheServersClockMayRunFastOrSlow(t *testing.T) {
	r := Reading{Sent: at(0), Received: at(10 * time.Millisecond), Micros: 1_000_000_000}
	giveUp := at(10 * time.Second)
	notAfter := r.notAfter(giveUp)
	if fast := r.Micros + 10_005_000; notAfter < fast {
		t.Errorf("notAfter = %d, would refuse a request in time by a fast clock: %d", notAfter, fast)
	}
	const micros = 1_010_000_000
	slow := r.Received.Add(10*time.Second + 5*time.Millisecond)
	if got := r.surelyAfter(micros); got.Mono < slow.Mono {
		t.Errorf("surelyAfter = %v, a slow clock passes %d only at %v", got, micros, slow)
	}
}
