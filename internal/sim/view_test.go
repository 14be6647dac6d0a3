package sim

import (
	"testing"
	"testing/synctest"
	"time"
)

// A queue that may have expired before a command says nothing of what the command did to it.
func TestAQueueThatMayHaveExpiredIsNotJudged(t *testing.T) {
	v := view{queue: map[string]float64{"a": 1}, lifetime: [4]time.Duration{2: time.Second}}
	if left := v.expired(v.at.Add(time.Second - expiryGrain - 1)); len(left.queue) != 1 {
		t.Error("it is gone before it can have expired")
	}
	if left := v.expired(v.at.Add(time.Second - expiryGrain)); len(left.queue) != 0 {
		t.Error("it counts although it may have expired")
	}
}

// An id whose revoked permit ran out may be granted again. What is left of the old one stays until the next
// purge: it takes room, and says nothing about the new one.
func TestAPermitGrantedAgainIsNotTheOneThatWasRevoked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := NewNetwork(1)
		defer n.Close()
		w := &watched{semaphore: semaphore{name: "s", capacities: []int{1}}}
		now := time.Now()
		ms := func(d time.Duration) float64 { return float64(now.Add(d).UnixMilli()) }
		for _, tc := range []struct {
			old, again time.Duration
			want       holding
		}{
			{-time.Second, time.Second, holding{2, 1, 1, false, ms(time.Second)}},
			{-2 * time.Second, -time.Second, holding{2, 1, 0, false, ms(-time.Second)}},
			{-time.Second, -2 * time.Second, holding{2, 1, 0, false, ms(-2 * time.Second)}},
			{time.Second, 2 * time.Second, holding{2, 1, 2, true, ms(time.Second)}},
			{time.Second, -time.Second, holding{2, 1, 1, true, ms(-time.Second)}},
		} {
			n.Server().ZAdd(w.key(), ms(tc.old), "revoked,a@p")
			n.Server().ZAdd(w.key(), ms(tc.again), "a@p")
			if h := w.look(n, now).holders["a@p"]; h != tc.want {
				t.Errorf("revoked until %v, granted until %v: %+v, want %+v", tc.old, tc.again, h, tc.want)
			}
		}
	})
}
