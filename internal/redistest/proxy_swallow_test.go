package redistest

import (
	"context"
	"fmt"
	"testing"
)

func TestSwallowLosesRequestsForGood(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	old := dial(t, p.Addr())
	old.mustAnswer("INCR n", ":1")
	p.Swallow()
	old.send("INCR n")
	old.mustStaySilent()
	fresh := dial(t, p.Addr())
	fresh.send("INCR n")
	fresh.mustStaySilent()

	p.Heal()
	old.mustEnd()
	fresh.mustEnd()
	dial(t, p.Addr()).mustAnswer("INCR n", ":2")
}

func TestSwallowHidesTheEndOfTheServer(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	old := dial(t, p.Addr())
	old.mustAnswer("PING", "+PONG")
	p.Swallow()
	s.Kill()
	old.mustStaySilent()
	fresh := dial(t, p.Addr())
	fresh.mustStaySilent()
	if n := p.Connections(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	s.Restart()
	p.Heal()
	old.mustEnd()
	fresh.mustEnd()
}

func TestSwallowHidesTheEndOfTheClient(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	subscriber := dial(t, p.Addr())
	subscriber.mustAnswer("SUBSCRIBE news", "*3")
	p.Swallow()
	_ = subscriber.Close()
	eventually(t, "the proxy sees the client leave", func(context.Context) error {
		if n := p.Connections(); n != 0 {
			return fmt.Errorf("%d connections", n)
		}
		return nil
	})
	client := s.Client(t)
	if n, err := client.Publish(t.Context(), "news", "x").Result(); err != nil || n != 1 {
		t.Errorf("%d subscribers, %v; want 1, which the server still believes in", n, err)
	}
	p.Heal()
	eventually(t, "the server sees the client leave", func(ctx context.Context) error {
		n, err := client.Publish(ctx, "news", "x").Result()
		if err == nil && n != 0 {
			err = fmt.Errorf("%d subscribers", n)
		}
		return err
	})
}

func TestSwallowRepliesLetsRequestsThrough(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	witness := dial(t, s.Addr())
	old := dial(t, p.Addr())
	old.mustAnswer("PING", "+PONG")
	p.SwallowReplies()
	fresh := dial(t, p.Addr())
	for _, c := range []*conn{old, fresh} {
		c.send("RPUSH list x")
		// BLPOP waits for the notification without a poll: it answers with the key
		// and the element, five lines.
		witness.mustAnswer("BLPOP list 0", "*2")
		for _, line := range []string{"$4", "list", "$1", "x"} {
			witness.mustRead(line)
		}
		c.mustStaySilent()
	}
	p.Heal()
	old.mustEnd()
	fresh.mustEnd()
	dial(t, p.Addr()).mustAnswer("PING", "+PONG")
}
