package lease_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

func TestWaitersAreServedByPollingWhenNotificationsAreLost(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.DropMessages(1)
		a, _ := w.process("a")
		b, _ := w.process("b")
		sa, sb := w.semaphore(a, 1), w.semaphore(b, 1)
		l := w.acquire(sa)
		var queued queuedCallers
		queued.add(w, sb, 0, 0)
		begin := time.Now()
		_ = l.Release()
		queued.mustBeServedInOrder(w, 1)
		if d := time.Since(begin); d > 600*time.Millisecond {
			w.Errorf("served after %v, want a poll at the latest", d)
		}
	})
}

// PassBuddy for Node gives back with a ZREM and notifies nobody.
func TestRealRedisWaitersFindAPermitThatWasFreedWithoutANotification(t *testing.T) {
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

func TestRealRedisUserWithoutPubSubPermissionsWaitsByPolling(t *testing.T) {
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
			for range 3 { // back and forth: each release notifies a waiter of the other process, in vain
				next := asking(t, s2)
				mustQueue(t, admin, queueKey, 1)
				if err := l.Release(); err != nil {
					t.Error(err)
				}
				// The script has promoted the waiter, in a second round trip where nobody seemed to wait. The waiter learns
				// of its permit by its poll.
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
