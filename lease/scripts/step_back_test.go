package scripts

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// After a step back of the server's clock, the expiries from before lie far ahead. Scripts draw them in: they lower
// them to what the longest TTL in use allows (include/longest.lua).

// near reports whether a score lies so far ahead of now, a test being short.
func near(score int64, ahead time.Duration) bool {
	off := time.Until(time.UnixMilli(score).Add(-ahead))
	return off > -5*time.Second && off <= 2*time.Millisecond
}

func inAnHour() int64 { return time.Now().Add(time.Hour).UnixMilli() }

func TestAPermitFromBeforeAStepBackIsDrawnInByARequestThatFindsNoRoom(t *testing.T) {
	for name, ask := range map[string]func(*scriptTest){
		"one that does not wait": func(s *scriptTest) { s.acquire(10*second, 2, 0, my(1)) },
		"one that waits":         func(s *scriptTest) { s.poll(10*second, 2, my(1), 0) },
		"a heavy one":            func(s *scriptTest) { s.acquire(10*second, 3, 0, my(1)+"#2") },
		"a heavy one at the head": func(s *scriptTest) {
			s.poll(10*second, 3, my(1)+"#2", 0)
			s.put(your(1), inAnHour())
			s.release(3)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(s *scriptTest) {
				s.acquire(10*second, 2, 0, your(1), your(2))
				s.put(your(1), inAnHour())
				ask(s)
				if !near(s.score(your(1)), 10*second) {
					t.Errorf("it expires in %v", time.Until(time.UnixMilli(s.score(your(1)))))
				}
				if !near(s.score(your(2)), 10*second) {
					t.Errorf("the other expires in %v", time.Until(time.UnixMilli(s.score(your(2)))))
				}
			})
		})
	}
}

func TestAPermitOfPassBuddyForNodeIsNotDrawnIn(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.acquire(10*second, 2, 0, your(1))
		theirs := inAnHour()
		s.put("00000000-0000-7000-8000-000000000009", theirs)
		s.acquire(10*second, 2, 0, my(1))
		if got := s.score("00000000-0000-7000-8000-000000000009"); got != theirs {
			t.Errorf("its score was %d, and is %d", theirs, got)
		}
	})
}

// A holder with a longer TTL trusts its permit for longer than others hold theirs.
func TestAPermitWithALongerTTLIsNotDrawnIn(t *testing.T) {
	for name, meanwhile := range map[string]func(*scriptTest){
		"": func(*scriptTest) {},
		"others come and go": func(s *scriptTest) {
			for range 3 {
				s.acquire(10*second, 2, 0, my(2))
				s.release(2, my(2))
			}
		},
		"others come in one call": func(s *scriptTest) {
			s.acquire(10*second, 9, 0, my(2), my(3), my(4))
			s.release(9, my(2), my(3), my(4))
		},
		"the fence is lost": func(s *scriptTest) { s.client.Del(context.Background(), s.fence) },
		"the fence is another's": func(s *scriptTest) {
			s.client.Set(context.Background(), s.fence, time.Now().Add(time.Minute).UnixMicro(), 0)
		},
		"one permit is handed from process to process": func(s *scriptTest) {
			s.acquire(10*second, 2, 0, my(2))
			s.poll(10*second, 2, my(3), 0)
			s.release(2, my(2))
			s.release(2, my(3))
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(s *scriptTest) {
				s.acquire(time.Hour, 2, 0, your(1))
				meanwhile(s)
				s.acquire(10*second, 2, 0, my(5))
				s.acquire(10*second, 2, 0, my(6)) // finds no room
				if !near(s.score(your(1)), time.Hour) {
					t.Errorf("it expires in %v", time.Until(time.UnixMilli(s.score(your(1)))))
				}
			})
		})
	}
}

func TestTheFenceForgetsALongerTTLWhenNobodyHolds(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.acquire(time.Hour, 1, 0, your(1))
		s.release(1, your(1))
		r := s.acquire(10*second, 1, 0, my(1))
		if fence, want := s.client.Get(context.Background(), s.fence).Val(), fmt.Sprintf("%d 1 10000", r[3]); fence != want {
			t.Errorf("the fence says %q, want %q", fence, want)
		}
	})
}

// Without a fence include/uncontended.lua would not know of holders with a longer TTL.
func TestAFenceThatIsMadeAnewBesideHoldersKnowsNoTTL(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		ctx := context.Background()
		s.put(your(1), time.Now().Add(10*second).UnixMilli())
		r := s.acquire(10*second, 2, 0, my(1))
		if fence, want := s.client.Get(ctx, s.fence).Val(), fmt.Sprintf("%d 2 10000 86400000", r[3]); fence != want {
			t.Errorf("the fence says %q, want %q", fence, want)
		}
		if ttl := s.client.PTTL(ctx, s.fence).Val(); ttl < 24*time.Hour {
			t.Errorf("the fence lives for %v", ttl)
		}
		if len(r) == 14 && (r[12] != 0 || r[13] != 0) {
			t.Errorf("the reply tells of limits that nobody has declared: %v", r)
		}
	})
	onEach(t, func(s *scriptTest) { // but PassBuddy's own permits have none
		s.put("00000000-0000-7000-8000-000000000009", inAnHour())
		r := s.acquire(10*second, 2, 0, my(1))
		if fence, want := s.client.Get(context.Background(), s.fence).Val(), fmt.Sprintf("%d 2 10000", r[3]); fence != want {
			t.Errorf("the fence says %q, want %q", fence, want)
		}
	})
}

func TestAnAliveMarkFromBeforeAStepBackIsDrawnIn(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		ctx := context.Background()
		s.acquire(10*second, 1, 0, "a")
		s.poll(10*second, 1, your(1), 0)
		s.poll(10*second, 1, my(1), 0)
		for _, owner := range []string{"me~1", "you~2"} {
			s.client.ZAdd(ctx, s.alive, redis.Z{Score: float64(inAnHour()), Member: owner})
		}
		s.release(1, "a")
		if !near(s.score(your(1)), 10*second) {
			t.Errorf("the permit expires in %v", time.Until(time.UnixMilli(s.score(your(1)))))
		}
		if !near(s.aliveUntil("me~1"), 10*second) {
			t.Errorf("the next of them is alive for %v", time.Until(time.UnixMilli(s.aliveUntil("me~1"))))
		}
	})
}

// A waiter with a longer TTL may poll less often than once in the TTL of others.
func TestAnAliveMarkWithALongerTTLIsNotDrawnIn(t *testing.T) {
	for _, fence := range []bool{true, false} {
		onEachWay(t, func(s *scriptTest) {
			s.acquire(10*second, 1, 0, "a")
			if !fence {
				s.client.Del(context.Background(), s.fence)
			}
			s.poll(time.Hour, 1, your(1), 0)
			s.poll(10*second, 1, my(1), 0)
			s.release(1, "a")
			if !near(s.score(your(1)), time.Hour) {
				t.Errorf("the permit expires in %v", time.Until(time.UnixMilli(s.score(your(1)))))
			}
		})
	}
}

// The queue is lost, and the waiter still counts as alive: it declares its TTL again.
func TestAWaiterDeclaresItsLongerTTLEachTimeThatItJoinsTheQueue(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		s.acquire(10*second, 1, 0, "a")
		s.poll(time.Hour, 1, your(1), 0)
		s.client.Del(context.Background(), s.queue)
		s.release(1, "a")
		s.acquire(10*second, 1, 0, "b")
		s.poll(time.Hour, 1, your(1), second)
		s.release(1, "b")
		if !near(s.score(your(1)), time.Hour) {
			t.Errorf("the permit expires in %v", time.Until(time.UnixMilli(s.score(your(1)))))
		}
	})
}

func TestAWaiterLeavesAFenceThatTellsOfNoOtherLimits(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.put("00000000-0000-7000-8000-000000000009", inAnHour())
		s.poll(10*second, 1, your(1), 0)
		if fence := s.client.Get(context.Background(), s.fence).Val(); fence != "0 1 10000" {
			t.Errorf("the fence says %q", fence)
		}
		s.client.ZRem(context.Background(), s.holders, "00000000-0000-7000-8000-000000000009")
		if r := s.poll(10*second, 1, your(1), 0); r[2] == 0 || r[3] != r[0] {
			t.Errorf("reply %v", r)
		}
	})
}

// Who waits already may come to have a longer TTL. Its process says so with a call that sees to the queue's lifetime, and
// what it is granted later is not drawn in to less.
func TestAWaitersLongerTTLIsKnownFromItsNextPollOn(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.acquire(10*second, 1, 0, your(1))
		s.poll(10*second, 1, my(1), 0)
		s.run(Acquire, 60*second, 1, 0, AcquireFlags(true, false, false, false, 1, 0), 0, my(1), 1000)
		s.release(1, your(1)) // my(1) gets it, for as long as its process is known to live
		if !near(s.score(my(1)), 60*second) {
			s.Fatalf("granted until %v from now", time.Until(time.UnixMilli(s.score(my(1)))))
		}
		s.acquire(10*second, 1, 0, your(2))
		if !near(s.score(my(1)), 60*second) {
			t.Errorf("drawn in to %v from now", time.Until(time.UnixMilli(s.score(my(1)))))
		}
	})
}
