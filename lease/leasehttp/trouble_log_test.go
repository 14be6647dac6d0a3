package leasehttp

import (
	"testing"
	"time"
)

func TestTroubleIsLoggedOnceInAPeriod(t *testing.T) {
	var log troubleLog
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		at   time.Duration
		want bool
	}{{0, true}, {0, false}, {troublePeriod - 1, false}, {troublePeriod, true}, {troublePeriod + 1, false}, {2 * troublePeriod, true}} {
		if got := log.isDue(start.Add(tc.at)); got != tc.want {
			t.Errorf("after %v: %v, want %v", tc.at, got, tc.want)
		}
	}
}
