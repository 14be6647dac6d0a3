package scripts

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// strictly has ids acquired by a strict caller, who does not wait.
func (s *scriptTest) strictly(ttl time.Duration, capacity int, ids ...any) []int64 {
	s.Helper()
	args := []any{0, AcquireFlags(false, flagsFor(ids...) != 0, true, false, 0, 0), 0}
	for _, id := range ids {
		args = append(args, id, "")
	}
	return s.run(Acquire, ttl, capacity, args...)
}

func (s *scriptTest) mustDisagree(r []int64, capacity int, ttl time.Duration) {
	s.Helper()
	a, err := AcquireReply(r, 1, nil)
	if err != nil {
		s.Fatal(err)
	}
	d, full := a.Details()
	if a.Answer(0) != (Answer{Disagrees, 0}) || !full || d.OtherCapacity != int64(capacity) || d.OtherTTL != ttl.Milliseconds() {
		s.Errorf("answer %v, details %+v; want a disagreement with %d and %v", a.Answer(0), d, capacity, ttl)
	}
}

func (s *scriptTest) mustGrant(r []int64) {
	s.Helper()
	if len(r) < 4 || r[2] <= 0 || r[3] == 0 {
		s.Errorf("not granted: %v", r)
	}
}

func TestAStrictAcquireIsRefusedWhileAnotherDeclaresOtherLimits(t *testing.T) {
	other := []struct {
		capacity int
		ttl      time.Duration
	}{{2, 10 * second}, {4, 10 * second}, {3, 20 * second}}
	for _, o := range other {
		t.Run(fmt.Sprint(o.capacity, o.ttl), func(t *testing.T) {
			onEach(t, func(s *scriptTest) {
				s.mustGrant(s.acquire(o.ttl, o.capacity, 0, your(1)))
				before := s.client.Get(context.Background(), s.fence).Val()
				s.mustDisagree(s.strictly(10*second, 3, my(1)), o.capacity, o.ttl)
				if after := s.client.Get(context.Background(), s.fence).Val(); after != before {
					s.Errorf("a refusal declares something: the fence was %q and is %q", before, after)
				}
				if s.score(my(1)) != 0 {
					s.Error("it holds a permit")
				}
				s.release(o.capacity, your(1))
				s.mustGrant(s.strictly(10*second, 3, my(1)))
			})
		})
	}
}

func TestAStrictAcquireAmongEquals(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.mustGrant(s.strictly(10*second, 3, my(1))) // nobody has declared anything
		s.mustGrant(s.acquire(10*second, 3, 0, your(1)))
		s.mustGrant(s.strictly(10*second, 3, my(2)))
		if r := s.strictly(10*second, 3, my(3)); r[2] != 0 {
			s.Errorf("want an ordinary refusal: %v", r)
		}
	})
}

func TestAStrictAcquireDoesNotMindTheDead(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.mustGrant(s.acquire(10*second, 2, 0, your(1)))
		s.put(your(1), time.Now().Add(-time.Millisecond).UnixMilli())
		s.mustGrant(s.strictly(10*second, 3, my(1)))
	})
}

func TestAStrictAcquireGetsAgainWhatItHolds(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.mustGrant(s.strictly(10*second, 3, my(1))) // and the reply is lost
		s.mustGrant(s.acquire(10*second, 2, 0, your(1)))
		s.mustGrant(s.strictly(10*second, 3, my(1)))
	})
}

// Somebody waits who declares other limits; nothing is held any more, because a notification was lost or a release
// failed.
func TestAStrictAcquireIsRefusedWhileAnotherWaits(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.mustGrant(s.acquire(10*second, 1, 0, your(1)))
		s.wait(10*second, 1, your(2))
		s.client.Del(context.Background(), s.holders)
		s.mustDisagree(s.strictly(10*second, 3, my(1)), 1, 10*second)
		if s.score(your(2)) == 0 {
			s.Error("the refused call has promoted nobody")
		}
		s.mustDisagree(s.strictly(10*second, 3, my(1)), 1, 10*second) // it has declared nothing by that
	})
}

// A strict waiter is refused at its poll, and leaves the queue: those behind it move up.
func TestAStrictWaiterIsRefusedAtItsPoll(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		ctx := context.Background()
		s.mustGrant(s.strictly(10*second, 1, my(1)))
		strict := func(stood int) []int64 {
			return s.run(Acquire, 10*second, 1, 0, AcquireFlags(false, false, true, false, stood, 0), 0, my(2), int64(1000))
		}
		if r := strict(0); r[2] != Waiting {
			s.Fatalf("want it to wait: %v", r)
		}
		s.wait(10*second, 2, your(1)) // another process declares 2; its caller stands behind
		s.release(2, my(1))
		if s.score(my(2)) == 0 {
			s.Fatal("a release serves whoever is first")
		}
		s.release(2, my(2))
		s.mustGrant(s.acquire(10*second, 2, 0, your(1)))
		s.wait(10*second, 2, your(2), your(3))
		s.client.ZAdd(ctx, s.queue, redis.Z{Member: my(2), Score: 1}) // at the head, from before
		s.mustDisagree(strict(1), 2, 10*second)
		if n, _ := s.client.ZScore(ctx, s.queue, my(2)).Result(); n != 0 {
			s.Error("it still stands in the queue")
		}
	})
}

func TestAnOverrideEndsADisagreement(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.mustGrant(s.acquire(10*second, 2, 0, your(1)))
		s.operate(Resize, 2, ResizeArguments(4, "op", "")...)
		s.mustGrant(s.strictly(10*second, 3, my(1)))
		s.operate(Resize, 2, ResetArguments()...)
		s.mustGrant(s.acquire(10*second, 3, 0, your(2)))
		s.mustGrant(s.acquire(10*second, 4, 0, your(3)))
		s.mustDisagree(s.strictly(10*second, 3, my(2)), 4, 10*second)
	})
}

// A refused call serves who waits by the limits that are declared already, and not by its own.
func TestAStrictRefusalPromotesByTheOthersLimits(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.mustGrant(s.acquire(20*second, 1, 0, your(1)))
		s.wait(20*second, 1, your(2))
		for range 2 {
			s.mustDisagree(s.strictly(10*second, 3, my(1)), 1, 20*second)
			if s.score(your(2)) != 0 {
				s.Fatal("it gave a second permit of one")
			}
		}
		s.client.Del(context.Background(), s.holders)
		s.mustDisagree(s.strictly(10*second, 3, my(1)), 1, 20*second)
		if s.score(your(2)) == 0 {
			s.Error("nobody was promoted")
		}
		if _, says, _ := strings.Cut(s.client.Get(context.Background(), s.fence).Val(), " "); says != "1 20000" {
			s.Errorf("the fence says %q", says)
		}
	})
}

// A heavier caller of its own process, which fits its own capacity, is not refused because the other's is smaller.
func TestAStrictRefusalRefusesNobodyElse(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.mustGrant(s.acquire(10*second, 2, 0, your(1)))
		s.poll(10*second, 3, my(1)+"#3", second)
		s.mustDisagree(s.strictly(10*second, 3, my(2)), 2, 10*second)
		if w := s.waiting(); len(w) != 1 {
			s.Errorf("waiting: %v", w)
		}
	})
}

// What a caller holds and gets again may have a longer TTL than the one that is declared.
func TestAStrictRefusalKeepsTheLongestTTL(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.mustGrant(s.strictly(60*second, 3, my(1)))
		s.mustGrant(s.acquire(10*second, 2, 0, your(1)))
		s.mustGrant(s.strictly(60*second, 3, my(1)))
		if _, says, _ := strings.Cut(s.client.Get(context.Background(), s.fence).Val(), " "); says != "2 10000 60000" {
			s.Errorf("the fence says %q", says)
		}
	})
}

// Node's permits declare nothing; what the fence says is of somebody who has gone.
func TestAStrictAcquireBesideNode(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.mustGrant(s.acquire(10*second, 2, 0, your(1)))
		s.put("node", time.Now().Add(second).UnixMilli())
		s.mustDisagree(s.strictly(10*second, 3, my(1)), 2, 10*second)
		s.release(2, your(1))
		s.mustGrant(s.strictly(10*second, 3, my(1)))
	})
}
