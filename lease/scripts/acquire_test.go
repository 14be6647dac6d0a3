package scripts

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestAcquireScriptGrantsUpToTheCapacity(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		r := s.acquire(10*second, 2, 0, "a", "b", "c")
		if len(r) != 14 || r[1] != int64(details) || r[8] != 2 || r[9] != 2 {
			t.Fatalf("reply %v", r)
		}
		now, first := r[0], r[11]
		if want := (now+999)/1000 + 10_000; r[2] != want || r[4] != want || first != want {
			t.Errorf("expiries %d, %d, first %d; want %d", r[2], r[4], first, want)
		}
		if r[6] != 0 || r[7] != 0 {
			t.Errorf("c was granted: %v", r)
		}
		if s.score("a") != r[2] || s.score("b") != r[4] || s.score("c") != 0 {
			t.Error("the sorted set says something else")
		}
		if r[3] < now || r[5] <= r[3] {
			t.Errorf("tokens %d, %d at %d", r[3], r[5], now)
		}
	})
}

// Where there is room and nobody waits, and the caller before declared the same, include/uncontended.lua grants:
// the outcome is the same.
func TestAcquireScriptWhereNobodyWaits(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		for _, ids := range [][]any{{"a"}, {"b", "c"}} {
			id := ids[0].(string)
			want := int64(0)
			for _, held := range []time.Duration{0, second, time.Hour} { // not yet; for less long; for longer
				if held > 0 {
					s.put(id, time.Now().Add(held).UnixMilli())
				}
				before := s.score(id)
				r := s.acquire(10*second, 9, 0, ids...)
				if len(r) != 2+2*len(ids) || r[1] != 0 {
					t.Fatalf("reply %v", r)
				}
				for i := range ids {
					if want = (r[0]+999)/1000 + 10_000; r[2+2*i] != want {
						t.Errorf("%s: the reply says that it expires at %d, want %d", ids[i], r[2+2*i], want)
					}
				}
				if want = max(want, before); s.score(id) != want {
					t.Errorf("%s, held for %v: expires at %d, want %d", id, held, s.score(id), want)
				}
			}
		}
	})
}

func TestAcquireScriptCountsNoExpiredPermit(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.put("dead", time.Now().Add(-time.Millisecond).UnixMilli())
		if r := s.acquire(10*second, 1, 0, "a"); r[2] == 0 {
			t.Fatalf("an expired permit kept its place: %v", r)
		}
		if s.score("dead") != 0 {
			t.Error("the expired permit is still there")
		}
	})
}

func TestAcquireScriptGrantsAgainWhatIsHeldAndExtendsIt(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		first := s.acquire(10*second, 1, 0, "a")
		again := s.acquire(20*second, 1, 0, "a")
		if again[2] < first[2]+9_000 || s.score("a") != again[2] {
			t.Errorf("granted until %d, then until %d; the score is %d", first[2], again[2], s.score("a"))
		}
		if again[3] <= first[3] {
			t.Errorf("token %d after %d", again[3], first[3])
		}
		shorter := s.acquire(second, 1, 0, "a")
		if s.score("a") != again[2] {
			t.Errorf("another TTL lowered the score from %d to %d", again[2], s.score("a"))
		}
		if shorter[2] > s.score("a") {
			t.Errorf("the reply promises %d, the score is %d", shorter[2], s.score("a"))
		}
	})
}

func TestAGrantWithoutOneOfItsMembersIsNotHeld(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		id := my(1) + "#3"
		s.acquire(10*second, 3, 0, id)
		s.client.ZRem(context.Background(), s.holders, id+",2")
		if r := s.renew(10*second, id); !slices.Equal(r[3:], []int64{1}) {
			t.Errorf("reply %v", r)
		}
		if n := s.client.ZCard(context.Background(), s.holders).Val(); n != 0 {
			t.Errorf("%d members are left", n)
		}
		s.acquire(10*second, 3, 0, id)
		s.client.ZRem(context.Background(), s.holders, id+",3")
		s.put("other", time.Now().Add(time.Minute).UnixMilli())
		if r := s.acquire(10*second, 3, 0, id); r[2] != 0 || s.score(id+",1") != 0 {
			t.Errorf("granted though two of three are free: %v", r)
		}
	})
}

func TestAcquireScriptDoesNothingPastNotAfter(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		past := time.Now().Add(-second).UnixMicro()
		r := s.acquire(10*second, 1, past, "a")
		if len(r) != 8 || r[1] != int64(Late)|int64(details) {
			t.Fatalf("reply %v", r)
		}
		if n, err := s.client.Exists(context.Background(), s.holders, s.fence).Result(); n != 0 || err != nil {
			t.Errorf("%d keys written, %v", n, err)
		}
		if r := s.acquire(10*second, 1, time.Now().Add(second).UnixMicro(), "a"); r[2] == 0 {
			t.Errorf("in time, and refused: %v", r)
		}
	})
}

func TestAcquireScriptTokensGrowThoughTheClockGoesBack(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		ahead := time.Now().Add(time.Hour).UnixMicro()
		if err := s.client.Set(context.Background(), s.fence, ahead, 0).Err(); err != nil {
			t.Fatal(err)
		}
		r := s.acquire(10*second, 3, 0, "a", "b")
		if r[3] != ahead+1 || r[5] != ahead+2 {
			t.Errorf("tokens %d, %d; the fence stood at %d", r[3], r[5], ahead)
		}
		fence, err := s.client.Get(context.Background(), s.fence).Result()
		if want := fmt.Sprintf("%d 3 10000", ahead+2); err != nil || fence != want {
			t.Errorf("the fence says %q, want %q, %v", fence, want, err)
		}
	})
}

// A request that has to wait learns when the first permit expires, also where its call has granted another request.
func TestAcquireScriptTellsTheEarliestExpiry(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		soon := time.Now().Add(3 * time.Second).UnixMilli()
		s.put("other", soon)
		r := s.wait(10*second, 2, "mine@me~1", "late@me~1")
		if first := r[9]; r[2] == 0 || r[4] != 0 || first != soon {
			t.Errorf("reply %v: earliest %d, want %d", r, first, soon)
		}
		s.client.ZRem(context.Background(), s.holders, "other")
		r = s.wait(10*second, 1, "mine@me~1", "late@me~1")
		if first := r[9]; first != s.score("mine@me~1") {
			t.Errorf("reply %v: earliest %d, want %d", r, first, s.score("mine@me~1"))
		}
	})
}

func TestScriptsTakeAsManyIdsAsGoSends(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		ids := make([]any, maxIDs)
		for i := range ids {
			ids[i] = fmt.Sprintf("%036d@host/12345~0123abcd", i)
		}
		for range 2 {
			if r := s.acquire(10*second, maxIDs, 0, ids...); len(r) < 2+2*maxIDs || r[1+2*maxIDs] == 0 {
				t.Errorf("%d integers", len(r))
			}
		}
		if r := s.renew(10*second, ids...); len(r) != 3 {
			t.Errorf("%d lost", len(r)-3)
		}
	})
}

// Node's PassBuddy adds members by its own clock, without an expiry of the key.
func TestScriptsKeepMembersOfNode(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.put("0b1f6a3e-uuid-of-node", time.Now().Add(5*second).UnixMilli())
		if r := s.acquire(10*second, 2, 0, "a", "b"); r[2] == 0 || r[4] != 0 {
			t.Errorf("reply %v", r)
		}
		if s.score("0b1f6a3e-uuid-of-node") == 0 {
			t.Error("Node's permit is gone")
		}
	})
}
