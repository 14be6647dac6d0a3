package scripts

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Ids of two owners.
const (
	mine  = "00000000-0000-7000-8000-00000000000%d@me~1"
	yours = "00000000-0000-7000-8000-00000000000%d@you~2"
)

func my(n int) string   { return fmt.Sprintf(mine, n) }
func your(n int) string { return fmt.Sprintf(yours, n) }

const config = "{passbuddy-x}:config"

// poll asks for id, which has waited for so long.
func (s *scriptTest) poll(ttl time.Duration, capacity int, id string, waited time.Duration) []int64 {
	s.Helper()
	return s.run(Acquire, ttl, capacity, 0, flagsFor(id), 0, id, waited.Microseconds())
}

// operate runs one of the scripts for people.
func (s *scriptTest) operate(v Verb, capacity int, args ...any) []any {
	s.Helper()
	all := KeysOf("passbuddy", "x", 10*second, capacity).Command(nil, v, true)
	cmd := redis.NewSliceCmd(context.Background(), append(all, args...)...)
	if err := s.client.Process(context.Background(), cmd); err != nil {
		s.Fatal(err)
	}
	return cmd.Val()
}

// channel subscribes to an owner's pushes.
func (s *scriptTest) channelOf(owner string) <-chan *redis.Message {
	s.Helper()
	sub := s.client.Subscribe(context.Background(), Channel+owner)
	s.Cleanup(func() { _ = sub.Close() })
	if _, err := sub.Receive(context.Background()); err != nil {
		s.Fatal(err)
	}
	return sub.Channel()
}

// mustHear returns the next push.
func (s *scriptTest) mustHear(from <-chan *redis.Message) Notification {
	s.Helper()
	select {
	case m := <-from:
		p, ok := ParseNotification(m.Payload)
		if !ok || p.Holders != s.holders {
			s.Fatalf("a push that nobody can read: %q", m.Payload)
		}
		return p
	case <-time.After(10 * second): // not a wait: a lost notification fails the test
		s.Fatal("nothing was pushed")
		return Notification{}
	}
}

// mustBeSilent is called when all that could be said was said before something else that was heard.
func (s *scriptTest) mustBeSilent(from <-chan *redis.Message) {
	s.Helper()
	select {
	case m := <-from:
		s.Fatalf("a push that nobody needs: %q", m.Payload)
	default:
	}
}

func (s *scriptTest) waiting() []string {
	s.Helper()
	return s.client.ZRange(context.Background(), s.queue, 0, -1).Val()
}

func (s *scriptTest) aliveUntil(owner string) int64 {
	s.Helper()
	return int64(s.client.ZScore(context.Background(), s.alive, owner).Val())
}

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
			t.Errorf("pushed %+v, the score is %d", p, s.score(my(3)))
		}
		s.release(1, my(3))
		if p := s.mustHear(you); p.ID != your(1) || p.Expiry != s.aliveUntil("you~2") || p.Expiry != s.score(your(1)) {
			t.Errorf("pushed %+v; its process is alive until %d, the score is %d", p, s.aliveUntil("you~2"), s.score(your(1)))
		}
		s.mustBeSilent(me)
		if got, want := s.waiting(), []string{my(2)}; !slices.Equal(got, want) {
			t.Errorf("waiting: %v, want %v", got, want)
		}
	})
}

// Those who have no place yet come behind the one that the caller names, and in the order of the call.
func TestAcquireScriptPutsNobodyBeforeAPlaceOfTheSameProcess(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.put("holder", time.Now().Add(time.Hour).UnixMilli())
		now := s.wait(10*second, 1, "first@me~1")[0]
		behind := now - 5_000_000
		// The first stands in the queue; the second and the third have waited for longer than the place allows.
		s.run(Acquire, 10*second, 1, 0, 4, behind, "first@me~1", 10_000_000, "second@me~1", 9_000_000, "third@me~1", 8_000_000)
		got := map[string]float64{}
		for _, z := range s.client.ZRangeWithScores(context.Background(), s.queue, 0, -1).Val() {
			got[z.Member.(string)] = z.Score
		}
		if got["first@me~1"] > float64(behind) || got["second@me~1"] != float64(behind+1) || got["third@me~1"] != float64(behind+2) {
			t.Errorf("places %v, behind %d", got, behind)
		}
	})
}

func TestPromise8PollKeepsItsPlaceAndAnOutageToo(t *testing.T) {
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

// A failover may lose the latest writes, a restart all of them. The server then knows those who have polled since, and
// nobody else: a permit that is free is theirs. A place counts again from its process's next poll on.
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

func TestPromoteDropsTheDeadWhereverTheyStand(t *testing.T) {
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
			t.Errorf("pushed %+v, want %s", p, my(1))
		}
		if p := s.mustHear(me); p.ID != my(2) {
			t.Errorf("pushed %+v, want %s", p, my(2))
		}
		if left := s.waiting(); len(left) != 0 {
			t.Errorf("still waiting: %v", left)
		}
	})
}

func TestPromoteRefusesWhatACapacityHasMadeImpossible(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		me, you := s.channelOf("me~1"), s.channelOf("you~2")
		s.acquire(10*second, 3, 0, "a", "b", "c")
		s.poll(10*second, 3, your(1)+"#3", 2*second)
		s.poll(10*second, 3, my(1), second)
		s.operate(Resize, 3, "2")
		s.release(3, "a", "b")
		if p := s.mustHear(you); p.Notice != Refused || p.ID != your(1)+"#3" || p.Expiry != 2 {
			t.Errorf("pushed %+v", p)
		}
		if p := s.mustHear(me); p.Notice != Granted || p.ID != my(1) {
			t.Errorf("pushed %+v", p)
		}
		if r := s.poll(10*second, 3, my(2)+"#3", 0); r[2] != -1 || len(s.waiting()) != 0 {
			t.Errorf("reply %v, waiting %v", r, s.waiting())
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

// During a deploy from 2 to 5 the processes declare both. Who declares 2 must not refuse what 5 have room for.
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
			t.Errorf("pushed %+v", p)
		}
	})
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
			t.Errorf("pushed %+v", p)
		}
		if s.score(heavy+",1") == 0 || s.score(heavy+",2") != s.score(heavy+",1") || s.score(heavy) != 0 {
			t.Error("the members are not there")
		}
		if got, want := s.waiting(), []string{your(1)}; !slices.Equal(got, want) {
			t.Errorf("waiting: %v, want %v", got, want)
		}
	})
}

func TestPromise9APollThatPromotesItsOwnIsNotPushed(t *testing.T) {
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
			t.Errorf("pushed %+v", p)
		}
		s.mustBeSilent(me)
	})
}

func TestPartOfAGrantIsNone(t *testing.T) {
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

func TestNoScriptShortensANeighboursKeys(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		ctx := context.Background()
		s.acquire(60*second, 1, 0, "a")
		s.run(Acquire, 60*second, 1, 0, 1, 0, your(1), 1000)
		s.run(Acquire, second, 1, 0, 1, 0, my(1), 1000)
		s.renew(second, "a")
		s.run(Release, second, 1, 3, my(1))
		for key, least := range map[string]time.Duration{s.queue: 119 * second, s.alive: 119 * second, s.holders: 24 * time.Hour, s.fence: 24 * time.Hour} {
			if ttl := s.client.PTTL(ctx, key).Val(); ttl < least {
				t.Errorf("%s lives for %v, want %v", key, ttl, least)
			}
		}
	})
}

func TestPromise11ResizeWinsAndTakesNothingAway(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		me := s.channelOf("me~1")
		s.acquire(10*second, 2, 0, "a", "b")
		s.poll(10*second, 2, my(1), second)
		s.operate(Resize, 2, "3")
		if p := s.mustHear(me); p.ID != my(1) {
			t.Errorf("pushed %+v", p)
		}
		s.operate(Resize, 2, "1")
		if n := s.client.ZCard(context.Background(), s.holders).Val(); n != 3 {
			t.Errorf("%d held after the capacity shrank, want all 3", n)
		}
		if r := s.acquire(10*second, 5, 0, "c"); r[4] != 1 || r[2] != 0 {
			t.Errorf("a process that declares more got more: %v", r)
		}
		s.operate(Resize, 2, "0")
		s.release(2, "a", "b", my(1))
		if r := s.poll(10*second, 2, my(2), 0); r[4] != 0 || r[2] != 0 {
			t.Errorf("granted while paused: %v", r)
		}
		if r := s.poll(10*second, 2, my(3)+"#2", 0); r[2] != 0 {
			t.Errorf("refused because of a pause: %v", r)
		}
		s.operate(Resize, 2, "")
		if p := s.mustHear(me); p.ID != my(2) {
			t.Errorf("pushed %+v", p)
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
			t.Errorf("pushed %+v", p)
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
			t.Errorf("pushed %+v", p)
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

func TestInspectScriptShowsWhatThereIsAndWritesNothing(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		ctx := context.Background()
		s.acquire(20*second, 3, 0, my(1)+"#2", "node")
		s.poll(10*second, 3, your(1), second)
		s.operate(Resize, 3, "2")
		before := s.client.Keys(ctx, "*").Val()
		r := s.operate(Inspect, 3, 0, 0, 500)
		if integer(r, 1) != 2 || integer(r, 2) != 3 || integer(r, 3) != 10_000 && integer(r, 3) != 20_000 || integer(r, 4) != 3 || integer(r, 5) != 1 {
			t.Errorf("reply %v", r)
		}
		members, waiters := r[6].([]any), r[7].([]any)
		if len(members) != 6 || len(waiters) != 3 || waiters[0] != your(1) || waiters[2] != fmt.Sprint(s.aliveUntil("you~2")) {
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

func TestThoseOfOneCallWaitInTheirOrder(t *testing.T) {
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

// How long others hold is said to who has to wait, also where its call has granted something.
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

func TestScriptsGiveTheQueueTwoTTLs(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		ctx := context.Background()
		s.acquire(10*second, 1, 0, "a")
		for range 2 { // the second finds its process alive from before
			s.wait(10*second, 1, my(1))
			for _, key := range []string{s.queue, s.alive} {
				if ttl := s.client.PTTL(ctx, key).Val(); ttl < 19*second || ttl > 20*second {
					t.Errorf("%s lives for %v", key, ttl)
				}
			}
			s.release(1, my(1))
		}
	})
}

// Two permits are free at once, so that the short way for one waiter is not taken.
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
			t.Errorf("pushed %+v", p)
		}
		if w := s.waiting(); len(w) != 0 {
			t.Errorf("still waiting: %v", w)
		}
	})
}
