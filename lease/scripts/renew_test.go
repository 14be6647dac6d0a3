package scripts

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
)

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

// One that comes late, or twice, takes nothing from a later one with a longer TTL. What a clock from before a step back has
// said stays, until somebody needs the room.
func TestRenewScriptShortensNothing(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.acquire(10*second, 3, 0, "a", "b")
		s.renew(20*second, "a")
		later := s.score("a")
		ahead := time.Now().Add(time.Hour).UnixMilli()
		s.put("b", ahead)
		r := s.renew(10*second, "a", "gone", "b")
		if !slices.Equal(r[3:], []int64{2}) {
			t.Errorf("lost %v, want the second", r[3:])
		}
		if s.score("a") != later || s.score("b") != ahead {
			t.Errorf("expiries %d and %d, were %d and %d", s.score("a"), s.score("b"), later, ahead)
		}
		if !near(r[1], 10*second) {
			t.Errorf("it says %d", r[1])
		}
	})
}

func TestRenewScriptWritesBeforeItReportsALoss(t *testing.T) {
	server := redistest.Start(t)
	replica := redistest.Start(t, "--replicaof", "127.0.0.1 "+server.Addr()[len("127.0.0.1:"):])
	c := replica.Client(t)
	cmd := redis.NewIntSliceCmd(context.Background(), append(KeysOf("passbuddy", "x", second, 1).Command(nil, Renew, true, false, false), "a")...)
	err := c.Process(context.Background(), cmd)
	if err == nil || !redis.HasErrorPrefix(err, "READONLY") {
		t.Fatalf("a replica answered %v, %v; it must not say that a permit is lost", cmd.Val(), err)
	}
}
