package scripts

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// A released permit goes to the waiter that has waited longest, by include/next_waiter.lua or by include/promote.lua:
// the outcome is the same.

func TestReleaseScriptGivesOnePermitToTheNext(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		ctx := context.Background()
		me := s.channelOf("me~1")
		s.acquire(10*second, 1, 0, "a")
		s.poll(10*second, 1, my(1), 0)
		if r := s.release(1, "a"); r[0] != 0 {
			t.Errorf("reply %v", r)
		}
		p := s.mustHear(me)
		if p.Notice != Granted || p.ID != my(1) || p.Expiry != s.score(my(1)) || p.Expiry != s.aliveUntil("me~1") {
			t.Errorf("the notification is %+v; the score is %d, its process is alive until %d", p, s.score(my(1)), s.aliveUntil("me~1"))
		}
		if fence, want := s.client.Get(ctx, s.fence).Val(), fmt.Sprintf("%d 1 10000", p.Token); fence != want {
			t.Errorf("the fence says %q, want %q", fence, want)
		}
		for _, key := range []string{s.holders, s.fence} {
			if ttl := s.client.PTTL(ctx, key).Val(); ttl < 24*time.Hour {
				t.Errorf("%s lives for %v", key, ttl)
			}
		}
		if left := s.waiting(); len(left) != 0 {
			t.Errorf("still waiting: %v", left)
		}
	})
}

func TestReleaseScriptServesAllThatFit(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		me := s.channelOf("me~1")
		s.acquire(10*second, 3, 0, "a", "b", "c")
		for i := range 4 {
			s.poll(10*second, 3, my(i), time.Duration(9-i)*second)
		}
		s.release(3, "a", "b")
		for i := range 2 {
			if p := s.mustHear(me); p.ID != my(i) {
				t.Errorf("the notification is %+v, want %s", p, my(i))
			}
		}
		s.release(3, "c")
		if p := s.mustHear(me); p.ID != my(2) {
			t.Errorf("the notification is %+v, want %s", p, my(2))
		}
		if got, want := s.waiting(), []string{my(3)}; !slices.Equal(got, want) {
			t.Errorf("waiting: %v, want %v", got, want)
		}
	})
}

// One permit is free, and it goes to nobody: not to a heavy request, not past an override or what the caller
// declares.
func TestReleaseScriptKeepsAHeadThatDoesNotFitWaiting(t *testing.T) {
	for name, test := range map[string]struct {
		id       string
		capacity int // that the releaser declares
		override string
	}{
		"a heavy request":                     {my(1) + "#2", 3, ""},
		"an override":                         {my(1), 3, "2"},
		"a pause":                             {my(1), 3, "0"},
		"a caller that declares less":         {my(1), 2, ""},
		"a caller that declares far less":     {my(1), 1, ""},
		"a heavy request and a larger one":    {my(1) + "#3", 4, "3"},
		"declared more than an override says": {my(1), 4, "2"},
	} {
		t.Run(name, func(t *testing.T) {
			onEachWay(t, func(s *scriptTest) {
				s.acquire(10*second, 3, 0, "a", "b", "c")
				s.poll(10*second, 3, test.id, 0)
				if test.override != "" {
					s.operate(Resize, 3, test.override, "op", "")
				}
				s.release(test.capacity, "a")
				if got := s.waiting(); !slices.Equal(got, []string{test.id}) {
					t.Errorf("waiting: %v, want %v", got, test.id)
				}
				if n := s.client.ZCard(context.Background(), s.holders).Val(); n != 2 {
					t.Errorf("%d held, want 2", n)
				}
			})
		})
	}
}

func TestReleaseScriptPassesOverADeadHead(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		me := s.channelOf("me~1")
		s.acquire(10*second, 1, 0, "a")
		s.poll(10*second, 1, your(1), second)
		s.poll(10*second, 1, my(1), 0)
		s.client.ZAdd(context.Background(), s.alive, redis.Z{Score: 1, Member: "you~2"})
		s.release(1, "a")
		if p := s.mustHear(me); p.ID != my(1) {
			t.Errorf("the notification is %+v", p)
		}
		if s.score(your(1)) != 0 {
			t.Error("the dead one holds")
		}
	})
}

// An operator has taken a permit away: it goes by another name until its holder has given it back.
func TestReleaseScriptCountsARevokedPermit(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		me := s.channelOf("me~1")
		s.acquire(10*second, 2, 0, my(1), "b")
		s.poll(10*second, 2, my(2), 0)
		s.operate(Revoke, 2, my(1))
		if p := s.mustHear(me); p.Notice != Withdrawn {
			t.Errorf("the notification is %+v", p)
		}
		s.release(2, "b")
		if p := s.mustHear(me); p.ID != my(2) {
			t.Errorf("the notification is %+v", p)
		}
		s.poll(10*second, 2, my(3), 0)
		s.release(2, my(1))
		if p := s.mustHear(me); p.ID != my(3) {
			t.Errorf("the notification is %+v", p)
		}
	})
}

func TestReleaseScriptMakesAFenceThatIsGone(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		ctx := context.Background()
		me := s.channelOf("me~1")
		s.acquire(10*second, 1, 0, "a")
		s.poll(10*second, 1, my(1), 0)
		s.client.Del(ctx, s.fence)
		s.release(1, "a")
		if p := s.mustHear(me); s.client.Get(ctx, s.fence).Val() != fmt.Sprintf("%d 1 10000 86400000", p.Token) {
			t.Errorf("the notification is %+v, the fence says %q", p, s.client.Get(ctx, s.fence).Val())
		}
		if ttl := s.client.PTTL(ctx, s.fence).Val(); ttl < 24*time.Hour {
			t.Errorf("the fence lives for %v", ttl)
		}
	})
}

func TestPromise10ReleaseScriptTokensGrowThoughTheClockGoesBack(t *testing.T) {
	onEachWay(t, func(s *scriptTest) {
		me := s.channelOf("me~1")
		s.acquire(10*second, 1, 0, "a")
		s.poll(10*second, 1, my(1), 0)
		ahead := time.Now().Add(time.Hour).UnixMicro()
		s.client.Set(context.Background(), s.fence, fmt.Sprintf("%d 1 10000", ahead), time.Hour)
		s.release(1, "a")
		if p := s.mustHear(me); p.Token != ahead+1 {
			t.Errorf("token %d; the fence stood at %d", p.Token, ahead)
		}
	})
}
