package protocol

import (
	"testing"
	"time"
)

func TestWindowEndsBeforeTheServerGivesThePermitAway(t *testing.T) {
	sent := at(time.Second)
	// The server read its clock, 5,000,000.250 ms, some time after the call was sent.
	const now, expiry = 5_000_000_250, 5_000_001 + 15_000
	end := WindowEnd(sent, expiry, now, 750*time.Millisecond)
	want := sent.Add(15_000*time.Millisecond + 750*time.Microsecond - 750*time.Millisecond)
	if end != want {
		t.Fatalf("window ends at %v, want %v", end, want)
	}
}

func TestTimeHasPassedWhenEitherClockSaysSo(t *testing.T) {
	end := at(10 * time.Second)
	for _, tc := range []struct {
		name string
		now  Instant
		want bool
	}{
		{"both before", at(9 * time.Second), false},
		{"both there", at(10 * time.Second), true},
		{"suspended: only the wall clock went on", Instant{at(time.Second).Mono, at(11 * time.Second).Wall}, true},
		{"the wall clock was set back", Instant{at(11 * time.Second).Mono, at(time.Second).Wall}, true},
	} {
		if got := tc.now.Reached(end); got != tc.want {
			t.Errorf("%s: reached = %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestEarlierTakesZeroForNever(t *testing.T) {
	a, b := at(1), at(2)
	for _, tc := range []struct{ x, y, want Instant }{
		{a, b, a}, {b, a, a}, {Instant{}, b, b}, {a, Instant{}, a}, {Instant{}, Instant{}, Instant{}},
	} {
		if got := earlier(tc.x, tc.y); got != tc.want {
			t.Errorf("earlier(%v, %v) = %v, want %v", tc.x, tc.y, got, tc.want)
		}
	}
}
