package scripts

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestPromise8ReleaseScriptServesWhoCameFirst(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		me, you := s.channelOf("me~1"), s.channelOf("you~2")
		s.acquire(10*second, 1, 0, "a")
		s.poll(20*second, 1, your(1), 2*second)
		s.poll(10*second, 1, my(2), second)
		s.poll(10*second, 1, my(3), 3*second) // came first, and asks last
		if got, want := s.waiting(), []string{my(3), your(1), my(2)}; !slices.Equal(got, want) {
			t.Fatalf("waiting: %v, want %v", got, want)
		}
		s.release(1, "a")
		p := s.mustHear(me)
		if p.Notice != Granted || p.ID != my(3) || p.Expiry != s.score(my(3)) || p.Token < p.ServerTime {
			t.Errorf("the notification is %+v, the score is %d", p, s.score(my(3)))
		}
		s.release(1, my(3))
		if p := s.mustHear(you); p.ID != your(1) || p.Expiry != s.aliveUntil("you~2") || p.Expiry != s.score(your(1)) {
			t.Errorf("the notification is %+v; its process is alive until %d, the score is %d", p, s.aliveUntil("you~2"), s.score(your(1)))
		}
		s.mustBeSilent(me)
		if got, want := s.waiting(), []string{my(2)}; !slices.Equal(got, want) {
			t.Errorf("waiting: %v, want %v", got, want)
		}
	})
}

func TestRequestsOfOneCallWaitInTheirOrder(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.acquire(10*second, 1, 0, "a")
		want := []string{my(3), my(1), my(2)}
		if r := s.wait(10*second, 1, my(3), my(1), my(2)); r[10] != 3 || r[2] != 0 || r[4] != 0 || r[6] != 0 {
			t.Errorf("reply %v", r)
		}
		if got := s.waiting(); !slices.Equal(got, want) {
			t.Errorf("waiting: %v, want %v", got, want)
		}
	})
}

// Requests that have no place yet come behind the place that the caller names, in the order of the call.
func TestAcquireScriptPutsNobodyBeforeAPlaceOfTheSameProcess(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.put("holder", time.Now().Add(time.Hour).UnixMilli())
		now := s.wait(10*second, 1, "first@me~1")[0]
		behind := now - 5_000_000
		// The first stands in the queue; the second and the third have waited for longer than the place allows.
		s.run(Acquire, 10*second, 1, 0, AcquireFlags(false, false, false, false, 1, 0), behind, "first@me~1", 10_000_000, "second@me~1", 9_000_000, "third@me~1", 8_000_000)
		got := map[string]float64{}
		for _, z := range s.client.ZRangeWithScores(context.Background(), s.queue, 0, -1).Val() {
			got[z.Member.(string)] = z.Score
		}
		if got["first@me~1"] > float64(behind) || got["second@me~1"] != float64(behind+1) || got["third@me~1"] != float64(behind+2) {
			t.Errorf("places %v, behind %d", got, behind)
		}
	})
}

func TestPromise8APlaceSurvivesPollsAndAnOutage(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.acquire(10*second, 1, 0, "a")
		s.poll(10*second, 1, my(1), 2*second)
		place := s.client.ZScore(context.Background(), s.queue, my(1)).Val()
		s.poll(10*second, 1, your(1), second)
		s.poll(10*second, 1, my(1), 2*second)
		if got := s.client.ZScore(context.Background(), s.queue, my(1)).Val(); got != place {
			t.Errorf("the place moved from %.0f to %.0f", place, got)
		}
		future := float64(time.Now().Add(time.Hour).UnixMicro()) // by a clock that has been set back since
		s.client.ZAdd(context.Background(), s.queue, redis.Z{Score: future, Member: my(1)})
		s.poll(10*second, 1, my(1), 2*second)
		if got := s.client.ZScore(context.Background(), s.queue, my(1)).Val(); got >= future {
			t.Error("a poll did not mend a place in the future")
		}
		s.client.Del(context.Background(), s.queue)
		s.poll(10*second, 1, your(1), second)
		s.poll(10*second, 1, my(1), 2*second)
		if got, want := s.waiting(), []string{my(1), your(1)}; !slices.Equal(got, want) {
			t.Errorf("after an outage: %v, want %v", got, want)
		}
	})
}

// A failover may lose the latest writes, a restart all of them. The server then knows only the waiters that have polled
// since, and gives them what is free. A place counts again from the next poll of its process on.
func TestPromise8LostPlaceCountsAgainFromThePollThatBringsIt(t *testing.T) {
	for lost, lose := range map[string]func(*scriptTest){
		"the queue": func(s *scriptTest) {
			s.client.Del(context.Background(), s.queue, s.alive)
			s.poll(10*second, 1, your(1), 3*second)
			s.release(1, "a")
		},
		"everything": func(s *scriptTest) {
			s.client.FlushAll(context.Background())
			s.poll(10*second, 1, your(1), 3*second)
		},
	} {
		t.Run(lost, func(t *testing.T) {
			onEachWay(t, func(s *scriptTest) {
				s.acquire(10*second, 1, 0, "a")
				s.poll(10*second, 1, my(1), 4*second)
				s.poll(10*second, 1, your(1), 3*second)
				s.poll(10*second, 1, my(2), 2*second)
				s.poll(10*second, 1, your(2), second)
				lose(s)
				if s.score(your(1)) == 0 {
					t.Error("the one that the server knows was not served")
				}
				// The others poll, in any order.
				s.poll(10*second, 1, your(2), second)
				s.poll(10*second, 1, my(2), 2*second)
				s.poll(10*second, 1, my(1), 4*second)
				if got, want := s.waiting(), []string{my(1), my(2), your(2)}; !slices.Equal(got, want) {
					t.Errorf("waiting: %v, want %v", got, want)
				}
				s.release(1, your(1))
				if s.score(my(1)) == 0 {
					t.Error("who came first is overtaken although the server knows it")
				}
			})
		})
	}
}

func TestAHeavyRequestIsNotOvertaken(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		me := s.channelOf("me~1")
		s.acquire(10*second, 3, 0, "a", "b", "c")
		heavy := my(1) + "#2"
		s.poll(10*second, 3, heavy, second)
		if r := s.poll(10*second, 3, your(1), 0); r[2] != 0 {
			t.Fatalf("reply %v", r)
		}
		s.release(3, "a")
		if r := s.acquire(10*second, 3, 0, "d"); r[2] != 0 {
			t.Errorf("one that does not wait overtook: %v", r)
		}
		s.release(3, "b")
		if p := s.mustHear(me); p.ID != heavy {
			t.Errorf("the notification is %+v", p)
		}
		if s.score(heavy+",1") == 0 || s.score(heavy+",2") != s.score(heavy+",1") || s.score(heavy) != 0 {
			t.Error("the members are not there")
		}
		if got, want := s.waiting(), []string{your(1)}; !slices.Equal(got, want) {
			t.Errorf("waiting: %v, want %v", got, want)
		}
	})
}
