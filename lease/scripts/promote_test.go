package scripts

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestPromoteDropsDeadWaitersAnywhereInTheQueue(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		me := s.channelOf("me~1")
		s.acquire(10*second, 3, 0, "a", "b", "c")
		s.poll(10*second, 3, your(1)+"#3", 3*second)
		s.poll(10*second, 3, my(1), 2*second)
		s.poll(10*second, 3, your(2), second)
		s.poll(10*second, 3, my(2), 0)
		s.client.ZAdd(context.Background(), s.alive, redis.Z{Score: 1, Member: "you~2"})
		s.release(3, "a", "b")
		if p := s.mustHear(me); p.ID != my(1) {
			t.Errorf("the notification is %+v, want %s", p, my(1))
		}
		if p := s.mustHear(me); p.ID != my(2) {
			t.Errorf("the notification is %+v, want %s", p, my(2))
		}
		if left := s.waiting(); len(left) != 0 {
			t.Errorf("still waiting: %v", left)
		}
	})
}

func TestPromoteRefusesRequestsHeavierThanTheCapacity(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		me, you := s.channelOf("me~1"), s.channelOf("you~2")
		s.acquire(10*second, 3, 0, "a", "b", "c")
		s.poll(10*second, 3, your(1)+"#3", 2*second)
		s.poll(10*second, 3, my(1), second)
		s.operate(Resize, 3, "2", "op", "")
		s.release(3, "a", "b")
		if p := s.mustHear(you); p.Notice != Refused || p.ID != your(1)+"#3" || p.Expiry != 2 {
			t.Errorf("the notification is %+v", p)
		}
		if p := s.mustHear(me); p.Notice != Granted || p.ID != my(1) {
			t.Errorf("the notification is %+v", p)
		}
		if r := s.poll(10*second, 3, my(2)+"#3", 0); r[2] != -1 || len(s.waiting()) != 0 {
			t.Errorf("reply %v, waiting %v", r, s.waiting())
		}
	})
}

// During a deploy from 2 to 5 the processes declare both. One that declares 2 must not refuse a request that 5
// have room for.
func TestPromoteRefusesNothingForANeighboursSmallerCapacity(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		me, you := s.channelOf("me~1"), s.channelOf("you~2")
		s.acquire(10*second, 5, 0, "a", "b", "c")
		heavy := your(1) + "#3"
		s.poll(10*second, 5, heavy, 2*second)
		s.poll(10*second, 5, my(1), second)
		s.release(2, "a", "b")
		s.release(2, "c")
		s.mustBeSilent(you)
		s.mustBeSilent(me)
		if got := s.waiting(); !slices.Equal(got, []string{heavy, my(1)}) {
			t.Errorf("waiting: %v", got)
		}
		if r := s.poll(10*second, 5, heavy, 2*second); r[2] <= 0 {
			t.Errorf("its own poll brings %v", r)
		}
		if p := s.mustHear(me); p.Notice != Granted || p.ID != my(1) {
			t.Errorf("the notification is %+v", p)
		}
	})
}

// Its caller may have gone, and the request may have come late: its own process's next call finds it there.
func TestAHeadThatIsTooHeavyForItsOwnProcessIsDropped(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		me := s.channelOf("me~1")
		s.acquire(10*second, 3, 0, "a")
		s.poll(10*second, 3, my(1)+"#3", second)
		s.client.ZRem(context.Background(), s.holders, "a")
		s.poll(10*second, 2, your(1), 0)
		if w := s.waiting(); len(w) != 2 || w[0] != my(1)+"#3" {
			t.Fatalf("another process has it wait: %v", w)
		}
		if r := s.poll(10*second, 2, my(2), 0); r[2] == 0 {
			t.Errorf("reply %v", r)
		}
		if p := s.mustHear(me); p.Notice != Refused || p.ID != my(1)+"#3" || p.Expiry != 2 {
			t.Errorf("the notification is %+v", p)
		}
		if w := s.waiting(); len(w) != 0 {
			t.Errorf("still waiting: %v", w)
		}
	})
}

// Where others of the process go by a larger capacity, a smaller one refuses nothing.
func TestAHeadThatFitsAnotherHandleOfItsProcessIsNotDropped(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.acquire(10*second, 3, 0, "a")
		s.poll(10*second, 3, my(1)+"#3", second)
		s.client.ZRem(context.Background(), s.holders, "a")
		s.run(Acquire, 10*second, 2, 0, AcquireFlags(false, false, false, true, 0, 0), 0, my(2), 0)
		if w := s.waiting(); len(w) != 2 || w[0] != my(1)+"#3" {
			t.Errorf("waiting: %v", w)
		}
	})
}

// One call promotes a bounded number of waiters, and its reply has the caller send another.
func TestPromoteSaysThatThereIsMore(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		const waiters = maxIDs + 1
		s.acquire(10*second, waiters, 0, fmt.Sprintf("a#%d", waiters))
		var ids []any
		for i := range waiters {
			ids = append(ids, fmt.Sprintf("%036d@me~1", i))
		}
		for part := range slices.Chunk(ids, maxIDs) {
			s.wait(10*second, waiters, part...)
		}
		if r := s.release(waiters, fmt.Sprintf("a#%d", waiters)); r[0] != int64(More) {
			t.Errorf("the first promotion leaves %d waiters, and its status is %d, want %d", len(s.waiting()), r[0], int64(More))
		}
		if r := s.run(Release, 10*second, waiters, 2); r[0] != 0 || len(s.waiting()) > 0 {
			t.Errorf("the second promotion leaves %d waiters, and its status is %d", len(s.waiting()), r[0])
		}
	})
}

// Two permits are free at once, so that include/next_waiter.lua does not serve the waiter.
func TestPromotionGrantsForAsLongAsTheWaitersProcessIsAlive(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		s.acquire(10*second, 2, 0, "a", "b")
		s.run(Acquire, 60*second, 2, 0, 0, 0, your(1), 1000)
		_, owner, _ := strings.Cut(your(1), "@")
		until, err := s.client.ZScore(context.Background(), s.alive, owner).Result()
		if err != nil {
			t.Fatal(err)
		}
		s.release(2, "a", "b") // by a process whose TTL is 10 s
		if got := s.score(your(1)); got != int64(until) {
			t.Errorf("granted until %d, its process is alive until %.0f", got, until)
		}
	})
}

func TestPromise9APollThatPromotesItsOwnRequestIsNotNotified(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		me, you := s.channelOf("me~1"), s.channelOf("you~2")
		s.acquire(10*second, 2, 0, "a", "b")
		s.poll(10*second, 2, my(1), second)
		s.poll(10*second, 2, your(1), 0)
		s.run(Release, 10*second, 2, 1, "a", "b") // without promoting: an acquire follows
		r := s.poll(10*second, 2, my(1), second)
		if r[2] != s.score(my(1)) || r[2] == 0 {
			t.Errorf("reply %v", r)
		}
		if p := s.mustHear(you); p.ID != your(1) {
			t.Errorf("the notification is %+v", p)
		}
		s.mustBeSilent(me)
	})
}
