package lease_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// The queue on a real Redis when notifications are late, lost, forged or forbidden.

const queueKey = "{passbuddy-gpu}:queue"

// openWith is a manager whose log can be read.
func openWith(t testing.TB, url string) (*lease.Manager, *logBuffer) {
	t.Helper()
	log := new(logBuffer)
	m, err := lease.Open(url, lease.Options{Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m, log
}

// gpu is the semaphore that these tests share.
func gpu(t testing.TB, m *lease.Manager, cfg lease.Config) *lease.Semaphore {
	t.Helper()
	cfg.Name = "gpu"
	if cfg.Capacity == 0 {
		cfg.Capacity = 1
	}
	s, err := m.Semaphore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A got is what an Acquire returned, and when.
type got struct {
	lease *lease.Lease
	err   error
	at    time.Time
}

// asking has a caller acquire; it waits until the test ends at the latest.
func asking(t testing.TB, s *lease.Semaphore, opts ...lease.AcquireOption) <-chan got {
	t.Helper()
	served := make(chan got, 1)
	ctx := t.Context()
	go func() {
		l, err := s.Acquire(ctx, opts...)
		served <- got{l, err, time.Now()}
	}()
	return served
}

// mustBeServed waits for the lease; a test that waits for ever says who did.
func mustBeServed(t testing.TB, who string, served <-chan got) got {
	t.Helper()
	select {
	case g := <-served:
		if g.err != nil {
			t.Fatalf("%s: %v", who, g.err)
		}
		return g
	case <-time.After(time.Minute):
		t.Fatalf("%s still waits", who)
	}
	return got{}
}

func mustStillWait(t testing.TB, who string, served <-chan got) {
	t.Helper()
	select {
	case g := <-served:
		t.Fatalf("%s waits no more: %v", who, g.err)
	default:
	}
}

// mustQueue waits until n stand in the shared queue.
func mustQueue(t testing.TB, admin redis.UniversalClient, key string, n int64) {
	t.Helper()
	redistest.Eventually(t, fmt.Sprintf("%d wait in %s", n, key), func(ctx context.Context) error {
		in, err := admin.ZCard(ctx, key).Result()
		if err == nil && in != n {
			err = fmt.Errorf("%d wait", in)
		}
		return err
	})
}

// inboxes returns the channels that anybody subscribes to.
func inboxes(t testing.TB, admin redis.UniversalClient) []string {
	t.Helper()
	channels, err := admin.PubSubChannels(context.Background(), "passbuddy:inbox:*").Result()
	if err != nil {
		t.Fatal(err)
	}
	return channels
}

func mustHaveInboxes(t testing.TB, admin redis.UniversalClient, n int) []string {
	t.Helper()
	var channels []string
	redistest.Eventually(t, fmt.Sprintf("there are %d subscriptions", n), func(context.Context) error {
		if channels = inboxes(t, admin); len(channels) != n {
			return fmt.Errorf("%q", channels)
		}
		return nil
	})
	return channels
}

// The polls are 3 to 4 seconds apart here: only the one that comes just after the expiry can be in time.
func TestRealRedisTakesACrashedHoldersPermitOverJustAfterItsExpiry(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	admin := server.Client(t)
	cfg := lease.Config{Name: "gpu", Capacity: 3, TTL: 12 * time.Second, RetryInterval: 4 * time.Second}
	judge := newJudge(t)
	holder := startFleet(t, 1, judge, "redis://"+server.Addr(), cfg)[0]
	expiries := map[string]time.Time{}
	for i := range cfg.Capacity {
		holder.must(order{Do: "hold", Key: fmt.Sprint(i)})
	}
	m, _ := openWith(t, "redis://"+server.Addr())
	s := gpu(t, m, cfg)
	var waiting []<-chan got
	for range cfg.Capacity {
		waiting = append(waiting, asking(t, s))
	}
	mustQueue(t, admin, queueKey, int64(cfg.Capacity))
	holder.kill()
	first := time.Time{}
	for _, z := range admin.ZRangeWithScores(context.Background(), "passbuddy-gpu", 0, -1).Val() {
		expiries[z.Member.(string)] = time.UnixMilli(int64(z.Score))
		if first.IsZero() {
			first = expiries[z.Member.(string)]
		}
	}
	for i, w := range waiting {
		g := mustBeServed(t, fmt.Sprintf("waiter %d", i), w)
		late := g.at.Sub(first)
		t.Logf("taken over %v after the expiry", late)
		if late < 0 || late > 1500*time.Millisecond {
			t.Errorf("taken over %v after the expiry", late)
		}
	}
}

// PassBuddy for Node gives back with a ZREM and tells nobody.
func TestRealRedisWaitersFindWhatAProcessFreedWithoutAWakeUp(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	admin := server.Client(t)
	ctx := context.Background()
	for i := range 2 {
		admin.ZAdd(ctx, "passbuddy-gpu", redis.Z{Member: fmt.Sprintf("0000000%d-node", i), Score: float64(time.Now().Add(time.Hour).UnixMilli())})
	}
	var waiting []<-chan got
	for i := range 2 { // each in a process of its own
		m, _ := openWith(t, "redis://"+server.Addr())
		waiting = append(waiting, asking(t, gpu(t, m, lease.Config{Capacity: 2, TTL: realTTL})))
		mustQueue(t, admin, queueKey, int64(i+1))
	}
	for i, w := range waiting {
		mustStillWait(t, "a waiter", w)
		freed := time.Now()
		admin.ZRem(ctx, "passbuddy-gpu", fmt.Sprintf("0000000%d-node", i))
		g := mustBeServed(t, "a waiter", w)
		t.Logf("found after %v, polls are %v apart at most", g.at.Sub(freed), 500*time.Millisecond)
	}
}

func TestRealRedisUserWhoMayNotPushWaitsByPolling(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	admin := server.Client(t)
	for user, rules := range map[string][]any{
		"channels": {"resetchannels", "+@all"},
		"commands": {"allchannels", "+@all", "-publish", "-subscribe"},
	} {
		t.Run(user, func(t *testing.T) {
			t.Cleanup(func() { admin.FlushAll(context.Background()) })
			args := append([]any{"ACL", "SETUSER", user, "on", ">pw", "~passbuddy-*", "~{passbuddy-*"}, rules...)
			if err := admin.Do(context.Background(), args...).Err(); err != nil {
				t.Fatal(err)
			}
			url := "redis://" + user + ":pw@" + server.Addr()
			m1, log1 := openWith(t, url)
			m2, log2 := openWith(t, url)
			s1, s2 := gpu(t, m1, lease.Config{TTL: realTTL}), gpu(t, m2, lease.Config{TTL: realTTL})
			l := realAcquire(t, s1)
			for range 3 { // back and forth: each release tells a waiter of the other process, in vain
				next := asking(t, s2)
				mustQueue(t, admin, queueKey, 1)
				if err := l.Release(); err != nil {
					t.Error(err)
				}
				// The script's own work is done, in a second trip where nobody seemed to wait: the permit is the waiter's,
				// who learns of it by its poll.
				redistest.Eventually(t, "the permit is the waiter's", func(ctx context.Context) error {
					held, err := admin.ZRange(ctx, "passbuddy-gpu", 0, -1).Result()
					if err == nil && (len(held) != 1 || held[0] == l.ID()) {
						err = fmt.Errorf("held: %q", held)
					}
					return err
				})
				l = mustBeServed(t, "the other process", next).lease
				s1, s2 = s2, s1
			}
			if err := l.Release(); err != nil {
				t.Error(err)
			}
			for _, log := range []*logBuffer{log1, log2} {
				redistest.Eventually(t, "both refusals are said", func(context.Context) error {
					for _, word := range []string{"may not PUBLISH", "may not SUBSCRIBE"} {
						if n := strings.Count(log.String(), word); n != 1 {
							return fmt.Errorf("%q is said %d times in %s", word, n, log)
						}
					}
					return nil
				})
			}
		})
	}
}

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
		if n := m.IgnoredMessages(); n != int64(len(garbage)) {
			return fmt.Errorf("%d of %d ignored", n, len(garbage))
		}
		return nil
	})
	// Sensible, and of no use: a grant of a semaphore that nobody uses, of an id that nobody knows.
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
	if n := m.IgnoredMessages(); n != int64(len(garbage)) {
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
	admin.ZRem(ctx, "passbuddy-gpu", "node") // no wake-up
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

// calls is how often the server has executed a command.
func calls(t testing.TB, client *redis.Client, command string) int64 {
	t.Helper()
	return statOf(t, client, command, "calls")
}

// statOf is a number of INFO commandstats, 0 where the command never ran.
func statOf(t testing.TB, client *redis.Client, command, field string) int64 {
	t.Helper()
	info, err := client.Info(context.Background(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		name, fields, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != "cmdstat_"+command {
			continue
		}
		for _, f := range strings.Split(fields, ",") {
			var n int64
			if _, err := fmt.Sscanf(f, field+"=%d", &n); err == nil {
				return n
			}
		}
	}
	return 0
}
