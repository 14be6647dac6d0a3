package lease_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/hooks"
	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

func TestRealRedisGarbageInTheInboxIsIgnoredCountedAndLoggedOnce(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client(t)
	ctx := context.Background()
	m, log := openWith(t, "redis://"+server.Addr())
	other, _ := openWith(t, "redis://"+server.Addr())
	s := gpu(t, m, lease.Config{TTL: realTTL})
	holder := realAcquire(t, gpu(t, other, lease.Config{TTL: realTTL}))
	waiting := asking(t, s)
	mustQueue(t, admin, queueKey, 1)
	channel := mustHaveInboxes(t, admin, 1)[0]
	owner := strings.TrimPrefix(channel, "passbuddy:inbox:")
	mine := admin.ZRange(ctx, queueKey, 0, 0).Val()[0]
	if !strings.HasSuffix(mine, "@"+owner) {
		t.Fatalf("%q waits, subscribed is %q", mine, channel)
	}
	now := time.Now()
	numbers := fmt.Sprintf("%d %d %d", now.Add(time.Hour).UnixMilli(), now.UnixMicro(), now.UnixMicro())
	garbage := []string{
		"", " ", "hello", "grant", "grant 1 2 3", "invalidate " + numbers + " " + mine + " passbuddy-gpu", // other publishers, truncated
		"grant " + numbers + " " + mine,                                       // no key
		"grant " + numbers + " " + mine + " other-gpu",                        // of another prefix
		"grant " + numbers + " " + holder.ID() + " passbuddy-gpu",             // somebody else's
		"grant " + numbers + " " + mine + "x passbuddy-gpu",                   // nearly its own
		"grant -1 2 3 " + mine + " passbuddy-gpu",                             // no time
		"grant 99999999999999999999 2 3 " + mine + " passbuddy-gpu",           // nor this
		"grant 1e9 2 3 " + mine + " passbuddy-gpu",                            // nor this
		strings.Repeat("grant ", 10000),                                       // long
		"revoke 0 0 " + fmt.Sprint(now.UnixMicro()) + " @" + " passbuddy-gpu", // nobody's
	}
	for _, message := range garbage {
		if n := admin.Publish(ctx, channel, message).Val(); n != 1 {
			t.Fatalf("%d got the message", n)
		}
	}
	redistest.Eventually(t, "all are counted", func(context.Context) error {
		if n := hooks.IgnoredMessages(m); n != int64(len(garbage)) {
			return fmt.Errorf("%d of %d ignored", n, len(garbage))
		}
		return nil
	})
	// Well formed, and of no use: a grant of a semaphore that nobody uses, of an id that nobody knows.
	admin.Publish(ctx, channel, "grant "+numbers+" 00000000-0000-7000-8000-000000000000@"+owner+" passbuddy-unused")
	admin.Publish(ctx, channel, "grant "+numbers+" 00000000-0000-7000-8000-000000000000@"+owner+" passbuddy-gpu")
	mustStillWait(t, "the waiter", waiting)
	if !holder.Valid() {
		t.Error(holder.Err())
	}
	if err := holder.Release(); err != nil {
		t.Error(err)
	}
	l := mustBeServed(t, "the waiter", waiting).lease
	if err := l.Release(); err != nil {
		t.Error(err)
	}
	if n := strings.Count(log.String(), "makes no sense"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, log)
	}
	if n := hooks.IgnoredMessages(m); n != int64(len(garbage)) {
		t.Errorf("%d of %d ignored", n, len(garbage))
	}
	redistest.Eventually(t, "nothing is left", func(context.Context) error { return gone(admin, "passbuddy-gpu") })
}

// The polls are 7 to 10 seconds apart here: what is served earlier is so because of the subscription.
func TestRealRedisPollsAtOnceWhenTheSubscriptionComesBack(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := server.Client(t)
	ctx := context.Background()
	admin.ZAdd(ctx, "passbuddy-gpu", redis.Z{Member: "node", Score: float64(time.Now().Add(time.Hour).UnixMilli())})
	m, log := openWith(t, "redis://"+server.Addr())
	waiting := asking(t, gpu(t, m, lease.Config{TTL: 30 * time.Second, RetryInterval: 10 * time.Second}))
	mustHaveInboxes(t, admin, 1)
	polls := func() int64 { return calls(t, admin, "evalsha") + calls(t, admin, "eval") }
	redistest.Eventually(t, "the poll that follows the subscription is over", func(context.Context) error {
		if n := polls(); n < 2 {
			return fmt.Errorf("%d polls", n)
		}
		return nil
	})
	before := polls()
	for range 2 { // for the second time as well
		if n := admin.ClientKillByFilter(ctx, "TYPE", "pubsub").Val(); n != 1 {
			t.Fatalf("%d subscriptions killed", n)
		}
		redistest.Eventually(t, "it polls", func(context.Context) error {
			if polls() == before {
				return errors.New("no poll")
			}
			return nil
		})
		before = polls()
		mustHaveInboxes(t, admin, 1)
	}
	admin.ZRem(ctx, "passbuddy-gpu", "node") // without a notification
	start := time.Now()
	admin.ClientKillByFilter(ctx, "TYPE", "pubsub")
	g := mustBeServed(t, "the waiter", waiting)
	t.Logf("served %v after the subscription was killed", g.at.Sub(start))
	if g.at.Sub(start) > 5*time.Second {
		t.Error("a poll later")
	}
	if log.String() != "" {
		t.Errorf("logged %s", log)
	}
}

func TestRealRedisSubscriptionLastsWhileSomebodyWaitsAndAQuietWhile(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	admin := server.Client(t)
	m, _ := openWith(t, "redis://"+server.Addr())
	other, _ := openWith(t, "redis://"+server.Addr())
	const shorter = time.Second
	if quiet := lease.SetQuiet(m, shorter); quiet < 9*time.Second {
		t.Errorf("closed after %v", quiet)
	}
	s := gpu(t, m, lease.Config{})
	for range 3 { // without a wait there is none
		if err := realAcquire(t, s).Release(); err != nil {
			t.Fatal(err)
		}
	}
	if in := inboxes(t, admin); len(in) != 0 {
		t.Errorf("subscribed without a wait: %q", in)
	}
	for first := range 2 { // it comes back
		holder := realAcquire(t, gpu(t, other, lease.Config{}))
		waiting := asking(t, s)
		mustHaveInboxes(t, admin, 1)
		start := time.Now() // the waiter waits until later
		if err := holder.Release(); err != nil {
			t.Error(err)
		}
		l := mustBeServed(t, "the waiter", waiting).lease
		if err := l.Release(); err != nil {
			t.Error(err)
		}
		if first > 0 {
			break
		}
		mustHaveInboxes(t, admin, 0)
		t.Logf("closed after %v", time.Since(start).Round(time.Second/10))
		if lasted := time.Since(start); lasted < shorter {
			t.Errorf("closed after %v", lasted)
		}
	}
}
