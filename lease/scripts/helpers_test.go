package scripts

import (
	"context"
	"fmt"
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

// onEachWay does so for both ways to release: by the script, and by a ZREM before the script.
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

const second = time.Second

// maxIDs is how many permits Go puts into one call.
const maxIDs = 500

// Ids of two owners.
const (
	mine  = "00000000-0000-7000-8000-00000000000%d@me~1"
	yours = "00000000-0000-7000-8000-00000000000%d@you~2"
)

func my(n int) string { return fmt.Sprintf(mine, n) }

func your(n int) string { return fmt.Sprintf(yours, n) }

const config = "{passbuddy-x}:config"

// run executes a script for the semaphore x. A negative integer in a nested reply stays one.
func (s *scriptTest) run(v Verb, ttl time.Duration, capacity int, args ...any) []int64 {
	s.Helper()
	all := KeysOf("passbuddy", "x", ttl, capacity).Command(nil, v, true, false, false)
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

// poll asks for id, which has waited for so long.
func (s *scriptTest) poll(ttl time.Duration, capacity int, id string, waited time.Duration) []int64 {
	s.Helper()
	return s.run(Acquire, ttl, capacity, 0, flagsFor(id), 0, id, waited.Microseconds())
}

func (s *scriptTest) renew(ttl time.Duration, ids ...any) []int64 {
	s.Helper()
	return s.run(Renew, ttl, 1, ids...)
}

// release gives ids back.
func (s *scriptTest) release(capacity int, ids ...any) []int64 {
	s.Helper()
	if s.plain && flagsFor(ids...) == 0 && s.client.ZRem(context.Background(), s.holders, ids...).Val() == int64(len(ids)) {
		return s.run(Release, 10*second, capacity, 2)
	}
	return s.run(Release, 10*second, capacity, append([]any{3}, ids...)...)
}

// operate runs one of the scripts for people.
func (s *scriptTest) operate(v Verb, capacity int, args ...any) []any {
	s.Helper()
	all := KeysOf("passbuddy", "x", 10*second, capacity).Command(nil, v, true, false, false)
	cmd := redis.NewSliceCmd(context.Background(), append(all, args...)...)
	if err := s.client.Process(context.Background(), cmd); err != nil {
		s.Fatal(err)
	}
	return cmd.Val()
}

// integer is one of an operator's reply.
func integer(reply []any, i int) int64 {
	n, _ := reply[i].(int64)
	return n
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

func (s *scriptTest) waiting() []string {
	s.Helper()
	return s.client.ZRange(context.Background(), s.queue, 0, -1).Val()
}

func (s *scriptTest) aliveUntil(owner string) int64 {
	s.Helper()
	return int64(s.client.ZScore(context.Background(), s.alive, owner).Val())
}

// channelOf subscribes to an owner's notifications.
func (s *scriptTest) channelOf(owner string) <-chan *redis.Message {
	s.Helper()
	sub := s.client.Subscribe(context.Background(), Channel+owner)
	s.Cleanup(func() { _ = sub.Close() })
	if _, err := sub.Receive(context.Background()); err != nil {
		s.Fatal(err)
	}
	return sub.Channel()
}

// mustHear returns the next notification.
func (s *scriptTest) mustHear(from <-chan *redis.Message) Notification {
	s.Helper()
	select {
	case m := <-from:
		p, ok := ParseNotification(m.Payload)
		if !ok || p.Holders != s.holders {
			s.Fatalf("a notification that cannot be read: %q", m.Payload)
		}
		return p
	case <-time.After(10 * second): // not a wait: a lost notification fails the test
		s.Fatal("no notification came")
		return Notification{}
	}
}

// mustBeSilent is called when all that could be said was said before something else that was heard.
func (s *scriptTest) mustBeSilent(from <-chan *redis.Message) {
	s.Helper()
	select {
	case m := <-from:
		s.Fatalf("a notification that nobody needs: %q", m.Payload)
	default:
	}
}
