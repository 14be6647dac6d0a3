package sim

import (
	"testing"
	"testing/synctest"
	"time"
)

// A permit that was revoked, ran out and was granted again counts by its new expiry: what is left of the old one
// stays until the next purge.
func TestAViewReadsTheExpiryOfWhatLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		defer n.Close()
		w := &watched{semaphore: semaphore{name: "s", capacities: []int{1}}}
		now := time.Now()
		ms := func(d time.Duration) float64 { return float64(now.Add(d).UnixMilli()) }
		for _, tc := range []struct {
			old, again time.Duration
			live       int
			want       time.Duration
		}{
			{-time.Second, time.Second, 1, time.Second},
			{-2 * time.Second, -time.Second, 0, -time.Second},
			{time.Second, 2 * time.Second, 2, time.Second},
		} {
			n.Server().ZAdd(w.key(), ms(tc.old), "revoked,a@p")
			n.Server().ZAdd(w.key(), ms(tc.again), "a@p")
			for range 50 { // a map's order is another each time
				h := w.look(n, now).holders["a@p"]
				if h.members != 2 || !h.revoked || h.live != tc.live || h.expiry != ms(tc.want) {
					t.Fatalf("old %v, new %v: %+v, want expiry %.0f of %d", tc.old, tc.again, h, ms(tc.want), tc.live)
				}
			}
		}
	})
}
