package scripts

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestPromise11ResizeWinsAndTakesNothingAway(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		me := s.channelOf("me~1")
		s.acquire(10*second, 2, 0, "a", "b")
		s.poll(10*second, 2, my(1), second)
		s.operate(Resize, 2, "3", "op", "")
		if p := s.mustHear(me); p.ID != my(1) {
			t.Errorf("the notification is %+v", p)
		}
		s.operate(Resize, 2, "1", "op", "")
		if n := s.client.ZCard(context.Background(), s.holders).Val(); n != 3 {
			t.Errorf("%d held after the capacity shrank, want all 3", n)
		}
		if r := s.acquire(10*second, 5, 0, "c"); r[4] != 1 || r[2] != 0 {
			t.Errorf("a process that declares more got more: %v", r)
		}
		s.operate(Resize, 2, "0", "op", "")
		s.release(2, "a", "b", my(1))
		if r := s.poll(10*second, 2, my(2), 0); r[4] != 0 || r[2] != 0 {
			t.Errorf("granted while paused: %v", r)
		}
		if r := s.poll(10*second, 2, my(3)+"#2", 0); r[2] != 0 {
			t.Errorf("refused because of a pause: %v", r)
		}
		s.operate(Resize, 2, "", "op", "")
		if p := s.mustHear(me); p.ID != my(2) {
			t.Errorf("the notification is %+v", p)
		}
		if n := s.client.Exists(context.Background(), config).Val(); n != 0 {
			t.Error("the override is still there")
		}
	})
}

func TestRevokeScriptFreesNothing(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		me := s.channelOf("me~1")
		id := my(1) + "#2"
		until := s.acquire(10*second, 2, 0, id)[2]
		s.poll(10*second, 2, your(1), 0)
		if r := s.operate(Revoke, 2, id); integer(r, 0) != 1 {
			t.Fatalf("reply %v", r)
		}
		if p := s.mustHear(me); p.Notice != Withdrawn || p.ID != id {
			t.Errorf("the notification is %+v", p)
		}
		if s.score("revoked,"+id+",1") != until || s.score("revoked,"+id+",2") != until || s.score(id+",1") != 0 {
			t.Error("the members are not there under their other names")
		}
		if r := s.acquire(10*second, 2, 0, "c"); r[2] != 0 {
			t.Errorf("somebody else got it: %v", r)
		}
		if r := s.renew(10*second, id); !slices.Equal(r[3:], []int64{-1}) {
			t.Errorf("the holder's renewal says %v", r)
		}
		if r := s.operate(Revoke, 2, id); integer(r, 0) != 3 {
			t.Errorf("revoked again: %v", r)
		}
		if r := s.operate(Revoke, 2, your(1)); integer(r, 0) != 2 {
			t.Errorf("one who waits: %v", r)
		}
		if r := s.operate(Revoke, 2, your(9)+"#1000"); integer(r, 0) != 0 {
			t.Errorf("one who is unknown: %v", r)
		}
		you := s.channelOf("you~2")
		s.release(2, id)
		if p := s.mustHear(you); p.ID != your(1) {
			t.Errorf("the notification is %+v", p)
		}
	})
}

// A request whose reply was lost is sent again, or one comes late: it must not undo a revocation.
func TestARevokedIDIsNotGrantedAgain(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		for _, id := range []string{my(1), my(2) + "#2"} {
			s.acquire(10*second, 5, 0, id)
			s.operate(Revoke, 5, id)
			if r := s.acquire(10*second, 5, 0, id); r[2] != WasRevoked {
				t.Errorf("%s is granted again: %v", id, r)
			}
			if r := s.poll(10*second, 5, id, 0); r[2] != WasRevoked || len(s.waiting()) != 0 {
				t.Errorf("%s waits again: %v", id, r)
			}
			if r := s.acquire(10*second, 5, 0, "a"); r[2] == 0 {
				t.Errorf("others are refused: %v", r)
			}
			s.release(5, id, "a")
			if r := s.acquire(10*second, 5, 0, id); r[2] <= 0 {
				t.Errorf("%s was given back, and is refused: %v", id, r)
			}
			s.release(5, id)
		}
		// When the last one's time is up, the mark goes.
		s.client.HSet(context.Background(), config, "revoked", time.Now().Add(-second).UnixMilli())
		s.acquire(10*second, 5, 0, "b")
		if n := s.client.Exists(context.Background(), config).Val(); n != 0 {
			t.Error("the mark of a revocation stays for ever")
		}
	})
}

// A poll may say how many callers wait in its process, where not all have a place.
func TestInspectScriptShowsHowManyCallersWait(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		ctx := context.Background()
		s.acquire(20*second, 1, 0, my(1))
		tell := func(callers int) {
			cmd := KeysOf("passbuddy", "x", 10*second, 1).Command(nil, Acquire, true, true, false)
			cmd = append(cmd, 0, AcquireFlags(false, false, false, false, 0, callers), 0, my(2), 5, my(3), 4)
			if err := s.client.Do(ctx, cmd...).Err(); err != nil {
				s.Fatal(err)
			}
		}
		for _, callers := range []int{1_000_000, 1} {
			tell(callers)
			s.poll(10*second, 1, my(2), second) // and does not say it again
			r, err := InspectReply(s.operate(Inspect, 3, 0, 0, 500))
			if err != nil || len(r.Waiters) != 2 || r.Waiters[0].Callers != int64(callers) || r.Waiters[1].Callers != int64(callers) {
				s.Errorf("%+v, %v; want %d callers", r.Waiters, err, callers)
			}
		}
		// Who has gone is forgotten, by and by.
		s.client.ZAdd(ctx, "{passbuddy-x}:callers", redis.Z{Member: "gone~9", Score: 7})
		for i := 0; s.client.ZCard(ctx, "{passbuddy-x}:callers").Val() > 1; i++ {
			if tell(1); i == 1000 {
				s.Fatal("who has gone is still there")
			}
		}
		if ttl := s.client.PTTL(ctx, "{passbuddy-x}:callers").Val(); ttl <= 10*second || ttl > 20*second {
			s.Errorf("it is kept for %v", ttl)
		}
	})
}

func TestInspectScriptShowsWhatThereIsAndWritesNothing(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		ctx := context.Background()
		s.acquire(20*second, 3, 0, my(1)+"#2", "node")
		s.poll(10*second, 3, your(1), second)
		s.operate(Resize, 3, "2", "op", "")
		before := s.client.Keys(ctx, "*").Val()
		r := s.operate(Inspect, 3, 0, 0, 500)
		if integer(r, 1) != 2 || integer(r, 2) != 3 || integer(r, 3) != 10_000 && integer(r, 3) != 20_000 || integer(r, 4) != 3 || integer(r, 5) != 1 {
			t.Errorf("reply %v", r)
		}
		members, waiters := r[6].([]any), r[7].([]any)
		if len(members) != 6 || len(waiters) != 4 || waiters[0] != your(1) || waiters[2] != fmt.Sprint(s.aliveUntil("you~2")) || waiters[3] != "0" {
			t.Errorf("holders %v, waiters %v", members, waiters)
		}
		if page := s.operate(Inspect, 3, 1, -1, 1); len(page[6].([]any)) != 2 || len(page[7].([]any)) != 0 {
			t.Errorf("one of the holders, from the second: %v", page)
		}
		after := s.client.Keys(ctx, "*").Val()
		slices.Sort(before)
		slices.Sort(after)
		if !reflect.DeepEqual(before, after) {
			t.Errorf("keys %v, then %v", before, after)
		}
	})
}

// A second call goes on with a large promotion, whatever the operators have set meanwhile.
func TestTheRestOfAPromotionChangesNothing(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.operate(Resize, 2, ResizeArguments(5, "a", "")...)
		s.operate(Resize, 2, PauseArguments("b", "stop")...)
		s.operate(Resize, 2, PromoteArguments()...)
		r, err := InspectReply(s.operate(Inspect, 2, 0, 0, 500))
		if err != nil || r.Override != 0 || r.Change.By != "b" || r.Change.Reason != "stop" || r.Change.Before != 5 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// Of a long queue a summary says no more than is there.
func TestSummarizeScriptCountsALongQueue(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		ctx := context.Background()
		s.acquire(20*second, 1, 0, "node")
		for i := range 400 {
			s.client.ZAdd(ctx, s.queue, redis.Z{Member: fmt.Sprintf("00000000-0000-7000-8000-%012d@me~1", i), Score: float64(i + 1)})
		}
		s.client.ZAdd(ctx, s.alive, redis.Z{Member: "me~1", Score: float64(time.Now().Add(time.Hour).UnixMilli())})
		s.client.ZAdd(ctx, "{passbuddy-x}:callers", redis.Z{Member: "me~1", Score: 402})
		r, err := SummarizeReply(s.operate(Summarize, 1))
		if err != nil || r.Places != 400 || r.Callers < 400 || r.Callers > 402 {
			t.Errorf("%+v, %v; want 400 places, and no more than 402 callers", r, err)
		}
	})
}

// What an older version has left of an override is not one.
func TestAPauseInterruptsWhatIsInForce(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.client.HSet(context.Background(), config, "before", 7)
		s.operate(Resize, 2, PauseArguments("a", "")...)
		s.operate(Resize, 2, ResumeArguments("a")...)
		if r, err := InspectReply(s.operate(Inspect, 2, 0, 0, 500)); err != nil || r.Override >= 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}
