package sim_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
)

func TestLostMessagesDoNotHurtTheirConnection(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		ctx := t.Context()
		sub := dialer(t, n.Host("a")).Subscribe(ctx, "c")
		defer sub.Close()
		_, _ = sub.Receive(ctx)
		speaker := dialer(t, n.Host("b"))
		n.DropMessages(1)
		_ = speaker.Publish(ctx, "c", "lost")
		synctest.Wait()
		n.DropMessages(0)
		_ = speaker.Publish(ctx, "c", "heard")
		if m, err := sub.ReceiveMessage(ctx); err != nil || m.Payload != "heard" {
			t.Fatal(m, err)
		}
	})
}

func TestDelayedMessagesComeLaterAndInOrder(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		ctx := t.Context()
		sub := dialer(t, n.Host("a")).Subscribe(ctx, "c")
		defer sub.Close()
		_, _ = sub.Receive(ctx)
		speaker := dialer(t, n.Host("b"))
		n.DelayMessages(0.5, time.Minute)
		start := time.Now()
		var want, got []string
		for i := range 20 {
			want = append(want, string(rune('a'+i)))
			_ = speaker.Publish(ctx, "c", want[i])
		}
		for range want {
			m, err := sub.ReceiveTimeout(ctx, time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.(*redis.Message).Payload)
		}
		if !slices.Equal(got, want) {
			t.Fatalf("got %v", got)
		}
		if d := time.Since(start); d == 0 || d > time.Minute {
			t.Fatalf("took %v", d)
		}
	})
}

func TestDuplicatedMessagesComeOnceMore(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		ctx := t.Context()
		sub := dialer(t, n.Host("a")).Subscribe(ctx, "c")
		defer sub.Close()
		_, _ = sub.Receive(ctx)
		speaker := dialer(t, n.Host("b"))
		n.DuplicateMessages(1, time.Minute)
		_ = speaker.Publish(ctx, "c", "twice")
		start := time.Now()
		for range 2 {
			if m, err := sub.ReceiveTimeout(ctx, time.Hour); err != nil || m.(*redis.Message).Payload != "twice" {
				t.Fatal(m, err)
			}
		}
		if d := time.Since(start); d == 0 || d > time.Minute {
			t.Fatalf("the second came %v later", d)
		}
		if m, err := sub.ReceiveTimeout(ctx, time.Hour); err == nil {
			t.Fatalf("and once more: %v", m)
		}
	})
}
