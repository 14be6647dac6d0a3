package sim_test

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
)

func TestPartitionIsABlackHoleForOldAndNewConnectionsUntilHealed(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		cut, other := n.Host("cut"), dialer(t, n.Host("other"))
		c := dialer(t, cut, func(o *redis.Options) { o.DialTimeout = 2 * time.Second })
		warm(t, c)
		cut.Partition()
		start := time.Now()
		if err := c.Incr(t.Context(), "n").Err(); !isTimeout(err) || time.Since(start) != time.Second {
			t.Fatalf("old connection: %v after %v", err, time.Since(start))
		}
		start = time.Now()
		if err := c.Incr(t.Context(), "n").Err(); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != 2*time.Second {
			t.Fatalf("new connection: %v after %v", err, time.Since(start))
		}
		warm(t, other)
		go func() { time.Sleep(time.Second); cut.Heal() }()
		start = time.Now()
		if err := c.Incr(t.Context(), "n").Err(); err != nil || time.Since(start) != time.Second {
			t.Fatalf("healed while dialling: %v after %v", err, time.Since(start))
		}
		if got := value(n, "n"); got != "1" {
			t.Fatalf("counted %q", got)
		}
	})
}

// A connection that was idle during a partition stays dead, and nobody knows before it is used.
func TestAConnectionThatIsDeadSinceAPartitionSwallowsARequestMuchLater(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		h := n.Host("cut")
		c := dialer(t, h)
		warm(t, c)
		h.Partition()
		h.Heal()
		time.Sleep(time.Minute)
		calm := time.Now()
		if h.SwallowedSince(calm.Add(-time.Hour)) {
			t.Fatal("a request was swallowed before there was one")
		}
		if err := c.Incr(t.Context(), "n").Err(); !isTimeout(err) || !h.SwallowedSince(calm) {
			t.Fatalf("%v, and swallowed: %v", err, h.SwallowedSince(calm))
		}
		time.Sleep(time.Minute)
		calm = time.Now()
		if err := c.Incr(t.Context(), "n").Err(); err != nil || h.SwallowedSince(calm) {
			t.Fatalf("over a new connection: %v, and swallowed: %v", err, h.SwallowedSince(calm))
		}
	})
}

func TestPartitionLosesTheReplyOfARequestUnderWay(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		h := n.Host("a")
		c := dialer(t, h)
		warm(t, c)
		n.SetFaults(sim.Faults{Latency: 100 * time.Millisecond})
		go func() { time.Sleep(50 * time.Millisecond); h.Partition(); h.Heal() }()
		if err := c.Incr(t.Context(), "n").Err(); !isTimeout(err) {
			t.Fatal(err)
		}
		if got := value(n, "n"); got != "1" {
			t.Fatalf("counted %q", got)
		}
	})
}

func TestRefusingHostResetsWhatIsThereAndFailsNewConnectionsAtOnce(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		h := n.Host("a")
		conn, _ := h.Dial(t.Context(), "", "")
		defer conn.Close()
		c := dialer(t, h)
		warm(t, c)
		h.Refuse()
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatalf("old connection: %v", err)
		}
		if err := c.Ping(t.Context()).Err(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("new connection: %v", err)
		}
		h.Heal()
		warm(t, c)
	})
}

func TestKilledHostNeverDialsAgainButWhatItWroteArrives(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		h := n.Host("a")
		c := dialer(t, h)
		warm(t, c)
		n.SetFaults(sim.Faults{Latency: time.Minute})
		sub := make(chan error)
		go func() { sub <- c.Incr(context.WithoutCancel(t.Context()), "n").Err() }()
		synctest.Wait()
		h.Kill()
		if err := <-sub; err == nil {
			t.Fatal("a killed process got its reply")
		}
		h.Heal()
		n.SetFaults(sim.Faults{})
		if err := c.Ping(t.Context()).Err(); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatalf("dial after death: %v", err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := value(n, "n"); got != "1" {
			t.Fatalf("counted %q", got)
		}
	})
}

func TestHostCanHaveFaultsOfItsOwn(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		slow, fast := dialer(t, n.Host("slow")), dialer(t, n.Host("fast"))
		warm(t, slow)
		n.Host("slow").SetFaults(sim.Faults{Latency: 100 * time.Millisecond})
		took := func(c *redis.Client) time.Duration {
			start := time.Now()
			warm(t, c)
			return time.Since(start)
		}
		if a, b := took(slow), took(fast); a != 200*time.Millisecond || b != 0 {
			t.Fatalf("slow %v, fast %v", a, b)
		}
		n.SetFaults(sim.Faults{})
		if d := took(slow); d != 0 {
			t.Fatalf("still slow: %v", d)
		}
	})
}

func TestDeniedCommandsFailInScriptsTooAndForOneHostOnly(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		ctx := t.Context()
		n.Host("a").Deny("PUBLISH")
		muted, free := dialer(t, n.Host("a")), dialer(t, n.Host("b"))
		var heard []string
		n.OnPublish(func(channel, message string) { heard = append(heard, channel+" "+message) })
		const script = "local r = redis.pcall('PUBLISH', KEYS[1], ARGV[1]); if type(r) == 'table' then return r.err end return 'sent'"
		if err := muted.Publish(ctx, "c", "x").Err(); err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("published: %v", err)
		}
		if got := muted.Eval(ctx, script, []string{"c"}, "x").Val(); !strings.HasPrefix(got.(string), "NOPERM") {
			t.Errorf("published by a script: %v", got)
		}
		if got := free.Eval(ctx, script, []string{"c"}, "y").Val(); got != "sent" {
			t.Errorf("not published: %v", got)
		}
		if len(heard) != 1 || heard[0] != "c y" {
			t.Errorf("heard %q", heard)
		}
	})
}
