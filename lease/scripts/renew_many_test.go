package scripts

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
)

// keysOf are those of the semaphores with these names.
func keysOf(names ...string) (all []*Keys) {
	for _, name := range names {
		all = append(all, KeysOf("passbuddy", name, second, 1))
	}
	return all
}

// renewMany renews lists of ids, one for each of the names.
func (s *scriptTest) renewMany(ttl time.Duration, names []string, ids ...[]any) RenewedMany {
	s.Helper()
	ms := ttl.Milliseconds()
	args := RenewManyCommand(nil, true, keysOf(names...), &ms)
	for _, of := range ids {
		args = append(append(args, len(of)), of...)
	}
	cmd := redis.NewIntSliceCmd(context.Background(), args...)
	if err := s.client.Process(context.Background(), cmd); err != nil {
		s.Fatal(err)
	}
	r, err := RenewManyReply(cmd.Val(), len(names), ms)
	if err != nil {
		s.Fatal(err)
	}
	return r
}

// of is the score of a member in another semaphore's set; 0: it is not there.
func (s *scriptTest) of(name, member string) int64 {
	s.Helper()
	score, err := s.client.ZScore(context.Background(), "passbuddy-"+name, member).Result()
	if err != nil && err != redis.Nil {
		s.Fatal(err)
	}
	return int64(score)
}

func (s *scriptTest) putOf(name, member string, score int64) {
	s.Helper()
	if err := s.client.ZAdd(context.Background(), "passbuddy-"+name, redis.Z{Score: float64(score), Member: member}).Err(); err != nil {
		s.Fatal(err)
	}
}

func in(d time.Duration) int64 { return time.Now().Add(d).UnixMilli() }

func TestRenewManyRenewsAllThatIsHeld(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		s.putOf("a", my(1), in(second))
		s.putOf("a", my(2), in(second))
		for n := range 3 {
			s.putOf("b", fmt.Sprintf("%s#3,%d", my(3), n+1), in(second))
		}
		r := s.renewMany(10*second, []string{"a", "b"}, []any{my(1), my(2)}, []any{my(3) + "#3"})
		if len(r.Left)+len(r.Freed) > 0 || !near(r.Expiry, 10*second) || r.Expiry != (r.ServerTime+999)/1000+10_000 {
			t.Errorf("%+v", r)
		}
		for _, got := range []int64{s.of("a", my(1)), s.of("a", my(2)), s.of("b", my(3)+"#3,1"), s.of("b", my(3)+"#3,3")} {
			if got != r.Expiry {
				t.Errorf("an expiry of %d, want %d", got, r.Expiry)
			}
		}
	})
}

// Whatever one semaphore's trouble is, the others are renewed, and it is left to renew.
func TestRenewManyLeavesTroubleToRenew(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		names := []string{"gone", "fine", "text", "expired", "other", "late", "half", "ahead"}
		s.putOf("fine", my(1), in(second))
		if err := s.client.Set(context.Background(), "passbuddy-text", "x", 0).Err(); err != nil {
			t.Fatal(err)
		}
		s.putOf("expired", my(1), in(-time.Millisecond))
		s.putOf("other", my(1), in(second))
		s.putOf("other", your(1), in(-time.Millisecond)) // somebody else's
		s.putOf("late", my(1), in(second))
		s.putOf("half", my(1), in(second))
		s.putOf("ahead", my(1), in(time.Hour))
		mine := []any{my(1)}
		r := s.renewMany(10*second, names, mine, mine, mine, mine, mine, mine, []any{my(1), my(2)}, mine)
		if want := []int64{1, 3, 4, 7}; !slices.Equal(r.Left, want) {
			t.Errorf("left %v, want %v", r.Left, want)
		}
		if want := []int64{4, 5}; !slices.Equal(r.Freed, want) {
			t.Errorf("freed %v, want %v", r.Freed, want)
		}
		for name, want := range map[string]int64{"gone": 0, "fine": r.Expiry, "expired": 0, "other": r.Expiry, "late": r.Expiry, "half": r.Expiry} {
			if got := s.of(name, my(1)); got != want {
				t.Errorf("%s: %d, want %d", name, got, want)
			}
		}
		if s.of("half", my(2)) != 0 || s.of("other", your(1)) != 0 {
			t.Error("a renewal added a permit, or left what had expired")
		}
		if got := s.of("ahead", my(1)); got < in(30*time.Minute) {
			t.Errorf("a renewal lowered an expiry to %d", got)
		}
	})
}

// As with renew, a full memory does not stop it, and a read-only replica says so to renew.
func TestRenewManyOnAFullServerAndOnAReplica(t *testing.T) {
	server := redistest.Start(t)
	s := newScriptTest(t, server.Client(t))
	s.putOf("a", my(1), in(10*second))
	s.client.ConfigSet(context.Background(), "maxmemory", "1")
	if r := s.renewMany(20*second, []string{"a"}, []any{my(1)}); len(r.Left) > 0 || s.of("a", my(1)) != r.Expiry {
		t.Errorf("%+v", r)
	}
	s.client.ConfigSet(context.Background(), "maxmemory", "0")
	replica := redistest.Start(t, "--replicaof", "127.0.0.1 "+server.Addr()[len("127.0.0.1:"):])
	s.client = replica.Client(t)
	redistest.Eventually(t, "the replica follows", func(ctx context.Context) error {
		return s.client.ZScore(ctx, "passbuddy-a", my(1)).Err()
	})
	if r := s.renewMany(30*second, []string{"a"}, []any{my(1)}); !slices.Equal(r.Left, []int64{1}) {
		t.Errorf("%+v", r)
	}
}

// Where what has expired cannot be removed, nothing is raised but by renew, which says why it cannot.
func TestRenewManyRevivesNothingThatItMayNotRemove(t *testing.T) {
	server := redistest.Start(t)
	s := newScriptTest(t, server.Client(t))
	expired := in(-time.Minute)
	s.putOf("a", my(1), expired)
	if err := s.client.Do(context.Background(), "acl", "setuser", "poor", "on", ">secret", "~*", "&*", "+@all", "-zremrangebyscore").Err(); err != nil {
		t.Fatal(err)
	}
	poor := redis.NewClient(&redis.Options{Addr: server.Addr(), Username: "poor", Password: "secret"})
	defer poor.Close()
	admin := s.client
	s.client = poor
	r := s.renewMany(10*second, []string{"a"}, []any{my(1)})
	s.client = admin
	if !slices.Equal(r.Left, []int64{1}) || s.of("a", my(1)) != expired {
		t.Errorf("%+v, an expiry of %d, want %d", r, s.of("a", my(1)), expired)
	}
}

// Nothing counts as renewed that could not be raised: here the permission has been taken away, after leases began.
func TestRenewManyTakesNoErrorForARenewal(t *testing.T) {
	s := newScriptTest(t, redistest.Start(t).Client(t))
	s.putOf("a", my(1), in(2*second))
	s.putOf("b", my(1), in(2*second))
	s.putOf("b", my(2), in(2*second))
	if err := s.client.Do(context.Background(), "acl", "setuser", "default", "-zadd").Err(); err != nil {
		t.Fatal(err)
	}
	r := s.renewMany(10*second, []string{"a", "b"}, []any{my(1)}, []any{my(1), my(2)})
	if !slices.Equal(r.Left, []int64{1, 2}) || s.of("a", my(1)) > in(2*second) {
		t.Errorf("%+v, an expiry of %d", r, s.of("a", my(1)))
	}
}

func TestRenewManyTakesAsMuchAsACallMayHave(t *testing.T) {
	onEach(t, func(s *scriptTest) {
		var names []string
		var ids [][]any
		for n := range 200 {
			name, id := fmt.Sprint("n", n), my(n%10)+"#2"
			if n == 0 {
				id = my(0) + "#100"
			}
			for of := range weightIn(id) {
				s.putOf(name, fmt.Sprintf("%s,%d", id, of+1), in(second))
			}
			names, ids = append(names, name), append(ids, []any{id})
		}
		if r := s.renewMany(10*second, names, ids...); len(r.Left)+len(r.Freed) > 0 || s.of("n199", my(9)+"#2,2") != r.Expiry {
			t.Errorf("%+v", r)
		}
	})
}

func weightIn(id string) (n int) {
	_, _ = fmt.Sscanf(id[len(my(0))+1:], "%d", &n)
	return n
}

func TestARenewalOfManyThatIsAnsweredWronglyIsAnError(t *testing.T) {
	for _, reply := range [][]int64{nil, {1}, {1, 1}, {1, 1, 0}, {1, 1, 3}, {1, 1, -3}, {1, 2, -1}} {
		if r, err := RenewManyReply(reply, 2, 1000); err == nil {
			t.Errorf("%v reads as %+v", reply, r)
		}
	}
}
