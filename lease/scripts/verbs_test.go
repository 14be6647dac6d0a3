package scripts

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
)

// A scriptTest runs scripts on one server, real or miniredis.
type scriptTest struct {
	*testing.T
	client         *redis.Client
	holders, fence string
	queue, alive   string
	plain          bool // a command takes out what is released, and the script promotes only
}

// onEach runs test on miniredis and on a real Redis: they format and answer some things differently.
func onEach(t *testing.T, test func(*scriptTest)) {
	t.Run("miniredis", func(t *testing.T) {
		c := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
		t.Cleanup(func() { _ = c.Close() })
		test(newScriptTest(t, c))
	})
	t.Run("redis", func(t *testing.T) {
		test(newScriptTest(t, redistest.Start(t).Client(t)))
	})
}

// onEachWay does so with either way of a release.
func onEachWay(t *testing.T, test func(*scriptTest)) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%t", plain), func(t *testing.T) {
			onEach(t, func(s *scriptTest) {
				s.plain = plain
				test(s)
			})
		})
	}
}

func newScriptTest(t *testing.T, c *redis.Client) *scriptTest {
	return &scriptTest{T: t, client: c, holders: "passbuddy-x", fence: "{passbuddy-x}:fence", queue: "{passbuddy-x}:queue", alive: "{passbuddy-x}:alive"}
}

// run executes a script for the semaphore x. A negative integer in a nested reply stays one.
func (s *scriptTest) run(v Verb, ttl time.Duration, capacity int, args ...any) []int64 {
	s.Helper()
	all := KeysOf("passbuddy", "x", ttl, capacity).Command(nil, v, true)
	cmd := redis.NewIntSliceCmd(context.Background(), append(all, args...)...)
	if err := s.client.Process(context.Background(), cmd); err != nil {
		s.Fatal(err)
	}
	return cmd.Val()
}

// flagsFor says whether some of ids weigh more than 1.
func flagsFor(ids ...any) int {
	for _, id := range ids {
		if strings.Contains(id.(string), "#") {
			return 2
		}
	}
	return 0
}

// acquire asks for each of ids without waiting.
func (s *scriptTest) acquire(ttl time.Duration, capacity int, notAfter int64, ids ...any) []int64 {
	s.Helper()
	args := []any{notAfter, flagsFor(ids...), 0}
	for _, id := range ids {
		args = append(args, id, "")
	}
	return s.run(Acquire, ttl, capacity, args...)
}

// wait asks for each of ids, and lets them wait.
func (s *scriptTest) wait(ttl time.Duration, capacity int, ids ...any) []int64 {
	s.Helper()
	args := []any{0, flagsFor(ids...), 0}
	for i, id := range ids {
		args = append(args, id, len(ids)-i) // who comes first has waited longest
	}
	return s.run(Acquire, ttl, capacity, args...)
}

func (s *scriptTest) renew(ttl time.Duration, ids ...any) []int64 {
	s.Helper()
	return s.renewWith(0, ttl, ids...)
}

// renewWith renews with flags.
func (s *scriptTest) renewWith(flags int, ttl time.Duration, ids ...any) []int64 {
	s.Helper()
	return s.run(Renew, ttl, 1, append([]any{flags}, ids...)...)
}

// release gives ids back.
func (s *scriptTest) release(capacity int, ids ...any) []int64 {
	s.Helper()
	if s.plain && flagsFor(ids...) == 0 && s.client.ZRem(context.Background(), s.holders, ids...).Val() == int64(len(ids)) {
		return s.run(Release, 10*second, capacity, 2)
	}
	return s.run(Release, 10*second, capacity, append([]any{3}, ids...)...)
}

func (s *scriptTest) score(id string) int64 {
	score, err := s.client.ZScore(context.Background(), s.holders, id).Result()
	if err == redis.Nil {
		return 0
	}
	if err != nil {
		s.Fatal(err)
	}
	return int64(score)
}

func (s *scriptTest) put(id string, score int64) {
	s.Helper()
	if err := s.client.ZAdd(context.Background(), s.holders, redis.Z{Score: float64(score), Member: id}).Err(); err != nil {
		s.Fatal(err)
	}
}

const second = time.Second

// maxIDs is how many permits Go puts into one call.
const maxIDs = 500

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

// Where there is room and nobody waits, and the caller before declared the same, a shorter way leads to the same.
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

func TestAcquireScriptGivesItsKeysADay(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		ctx := context.Background()
		s.acquire(10*second, 3, 0, "a")
		for _, key := range []string{s.holders, s.fence} {
			if ttl := s.client.PTTL(ctx, key).Val(); ttl < 24*time.Hour {
				t.Errorf("%s lives for %v", key, ttl)
			}
		}
		// An hour later they are refreshed.
		hourAgo := time.Now().Add(-time.Hour).UnixMicro()
		s.client.Set(ctx, s.fence, hourAgo, time.Minute)
		s.client.PExpire(ctx, s.holders, time.Minute)
		s.acquire(10*second, 3, 0, "b")
		for _, key := range []string{s.holders, s.fence} {
			if ttl := s.client.PTTL(ctx, key).Val(); ttl < 24*time.Hour {
				t.Errorf("%s lives for %v after an hour", key, ttl)
			}
		}
	})
}

func TestRenewScriptMovesWhatIsHeldAndReportsTheRest(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.acquire(second, 3, 0, "a", "b")
		r := s.renew(10*second, "x", "a", "y", "b")
		if !slices.Equal(r[3:], []int64{1, 3}) {
			t.Errorf("lost %v, want 1 and 3", r[3:])
		}
		if want := (r[0]+999)/1000 + 10_000; r[1] != want || s.score("a") != want || s.score("b") != want {
			t.Errorf("expiry %d, scores %d, %d; want %d", r[1], s.score("a"), s.score("b"), want)
		}
		if s.score("x") != 0 || s.score("y") != 0 {
			t.Error("a renewal added a permit")
		}
		if ttl := s.client.PTTL(context.Background(), s.holders).Val(); ttl < 24*time.Hour {
			t.Errorf("the key lives for %v", ttl)
		}
	})
}

func TestRenewScriptRevivesNothing(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.put("a", time.Now().Add(-time.Millisecond).UnixMilli())
		if r := s.renew(10*second, "a"); !slices.Equal(r[3:], []int64{1}) || s.score("a") != 0 {
			t.Errorf("reply %v, score %d", r, s.score("a"))
		}
	})
}

func TestRenewScriptLowersNoScore(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		r := s.acquire(20*second, 3, 0, "a", "b")
		if again := s.renew(second, "a", "b"); len(again) != 3 {
			t.Errorf("held, and reported lost: %v", again)
		}
		if s.score("a") != r[2] || s.score("b") != r[4] {
			t.Error("another TTL lowered a score")
		}
	})
}

// A holder that crashes after a step back of the clock would keep its permit for as long as the step.
func TestRenewScriptSetsExpiriesAfterAStepBack(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.acquire(10*second, 3, 0, "a")
		s.put("a", time.Now().Add(time.Hour).UnixMilli())
		s.put("b", time.Now().Add(time.Hour).UnixMilli())
		r := s.renewWith(1, 10*second, "a", "gone", "b")
		if !slices.Equal(r[3:], []int64{2}) || s.score("gone") != 0 {
			t.Errorf("lost %v, want the second", r[3:])
		}
		if s.score("a") != r[1] || s.score("b") != r[1] {
			t.Errorf("expiries %d and %d, want %d", s.score("a"), s.score("b"), r[1])
		}
	})
}

func TestRenewScriptWritesBeforeItReportsALoss(t *testing.T) {
	server := redistest.Start(t)
	replica := redistest.Start(t, "--replicaof", "127.0.0.1 "+server.Addr()[len("127.0.0.1:"):])
	c := replica.Client(t)
	cmd := redis.NewIntSliceCmd(context.Background(), append(KeysOf("passbuddy", "x", second, 1).Command(nil, Renew, true), 0, "a")...)
	err := c.Process(context.Background(), cmd)
	if err == nil || !redis.HasErrorPrefix(err, "READONLY") {
		t.Fatalf("a replica answered %v, %v; it must not say that a permit is lost", cmd.Val(), err)
	}
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
func TestScriptsLiveWithMembersOfNode(t *testing.T) {
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

// integer is one of an operator's reply.
func integer(reply []any, i int) int64 {
	n, _ := reply[i].(int64)
	return n
}
