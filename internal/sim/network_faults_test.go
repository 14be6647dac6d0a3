package sim_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
)

// value is what the server holds, seen past the network.
func value(n *sim.Network, key string) string {
	v, _ := n.Server().Get(key)
	return v
}

func TestDroppedRequestTimesOutAndIsNeverExecuted(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		c := dialer(t, n.Host("a"))
		warm(t, c)
		n.SetFaults(sim.Faults{DropRequest: 1})
		start := time.Now()
		err := c.Incr(t.Context(), "n").Err()
		if d := time.Since(start); !isTimeout(err) || d != time.Second {
			t.Fatalf("%v after %v", err, d)
		}
		time.Sleep(time.Hour)
		if got := value(n, "n"); got != "" {
			t.Fatalf("executed: %q", got)
		}
		n.SetFaults(sim.Faults{})
		warm(t, c) // over a new connection
	})
}

func TestDroppedReplyTimesOutAfterTheRequestWasExecuted(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		c := dialer(t, n.Host("a"))
		warm(t, c)
		n.SetFaults(sim.Faults{DropReply: 1})
		start := time.Now()
		err := c.Incr(t.Context(), "n").Err()
		if d := time.Since(start); !isTimeout(err) || d != time.Second {
			t.Fatalf("%v after %v", err, d)
		}
		if got := value(n, "n"); got != "1" {
			t.Fatalf("executed: %q", got)
		}
	})
}

func TestConnectionIsABlackHoleAfterALostMessage(t *testing.T) {
	for name, f := range map[string]sim.Faults{"request": {DropRequest: 1}, "reply": {DropReply: 1}} {
		t.Run(name, func(t *testing.T) {
			onNetwork(t, func(t *testing.T, n *sim.Network) {
				conn, _ := n.Host("a").Dial(t.Context(), "", "")
				defer conn.Close()
				n.SetFaults(f)
				_, _ = io.WriteString(conn, "*2\r\n$4\r\nINCR\r\n$1\r\na\r\n")
				synctest.Wait()
				n.SetFaults(sim.Faults{})
				if _, err := io.WriteString(conn, "*2\r\n$4\r\nINCR\r\n$1\r\nb\r\n"); err != nil {
					t.Fatalf("write: %v", err)
				}
				_ = conn.SetReadDeadline(time.Now().Add(time.Hour))
				if k, err := conn.Read(make([]byte, 1)); !isTimeout(err) {
					t.Fatalf("read %d bytes, %v", k, err)
				}
				if got := value(n, "b"); got != "" {
					t.Fatalf("executed: %q", got)
				}
			})
		})
	}
}

func TestCutRequestFailsAtOnceAndIsNeverExecuted(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		c := dialer(t, n.Host("a"))
		warm(t, c)
		n.SetFaults(sim.Faults{CutRequest: 1})
		if err := c.Incr(t.Context(), "n").Err(); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
		if got := value(n, "n"); got != "" {
			t.Fatalf("executed: %q", got)
		}
	})
}

func TestCutReplyFailsAtOnceAfterTheRequestWasExecuted(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		c := dialer(t, n.Host("a"))
		warm(t, c)
		n.SetFaults(sim.Faults{CutReply: 1})
		if err := c.Incr(t.Context(), "n").Err(); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
		if got := value(n, "n"); got != "1" {
			t.Fatalf("executed: %q", got)
		}
	})
}

func TestDuplicateIsExecutedOnceMoreLater(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		c := dialer(t, n.Host("a"), func(o *redis.Options) { o.DB = 3 })
		warm(t, c)
		var when []time.Duration
		start := time.Now()
		n.OnCommand(func(host string, now time.Time, cmd []string) {
			if host == "a" && cmd[0] == "incr" {
				when = append(when, now.Sub(start))
			}
		})
		n.SetFaults(sim.Faults{Duplicate: 1, DuplicateAfter: time.Minute})
		if got, err := c.Incr(t.Context(), "n").Result(); got != 1 || err != nil {
			t.Fatal(got, err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(when) != 2 || when[0] != 0 || when[1] == 0 || when[1] > time.Minute {
			t.Fatalf("executed at %v", when)
		}
		if got, _ := n.Server().DB(3).Get("n"); got != "2" {
			t.Fatalf("counted %q in the client's database", got)
		}
	})
}

func TestTransactionIsNotDuplicated(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		n.SetFaults(sim.Faults{Duplicate: 1})
		c := dialer(t, n.Host("a"))
		_, err := c.TxPipelined(t.Context(), func(p redis.Pipeliner) error {
			p.Incr(t.Context(), "n")
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := value(n, "n"); got != "1" {
			t.Fatalf("counted %q", got)
		}
	})
}

func TestDelayedRequestArrivesAfterItsClientGaveUp(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		c := dialer(t, n.Host("a"))
		warm(t, c)
		n.SetFaults(sim.Faults{DelayRequest: 1, DelayUpTo: time.Hour})
		if err := c.Set(t.Context(), "k", "late", 0).Err(); !isTimeout(err) {
			t.Fatal(err)
		}
		if got := value(n, "k"); got != "" {
			t.Fatalf("already executed: %q", got)
		}
		time.Sleep(time.Hour)
		if got := value(n, "k"); got != "late" {
			t.Fatalf("after an hour: %q", got)
		}
	})
}

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

func TestLostPushesDoNotHurtTheirConnection(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		ctx := t.Context()
		sub := dialer(t, n.Host("a")).Subscribe(ctx, "c")
		defer sub.Close()
		_, _ = sub.Receive(ctx)
		speaker := dialer(t, n.Host("b"))
		n.DropPushes(1)
		_ = speaker.Publish(ctx, "c", "lost")
		synctest.Wait()
		n.DropPushes(0)
		_ = speaker.Publish(ctx, "c", "heard")
		if m, err := sub.ReceiveMessage(ctx); err != nil || m.Payload != "heard" {
			t.Fatal(m, err)
		}
	})
}

func TestDelayedPushesComeLaterAndInOrder(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		ctx := t.Context()
		sub := dialer(t, n.Host("a")).Subscribe(ctx, "c")
		defer sub.Close()
		_, _ = sub.Receive(ctx)
		speaker := dialer(t, n.Host("b"))
		n.DelayPushes(0.5, time.Minute)
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

func TestDuplicatedPushesComeOnceMore(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		ctx := t.Context()
		sub := dialer(t, n.Host("a")).Subscribe(ctx, "c")
		defer sub.Close()
		_, _ = sub.Receive(ctx)
		speaker := dialer(t, n.Host("b"))
		n.DuplicatePushes(1, time.Minute)
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

func TestSameSeedGivesTheSameFaultsWhateverOthersDo(t *testing.T) {
	life := func(seed uint64, neighbours int) (fate []string) {
		synctest.Test(t, func(t *testing.T) {
			n := sim.NewNetwork(seed)
			defer n.Close()
			n.SetFaults(sim.Faults{
				Latency: time.Millisecond, Jitter: time.Millisecond,
				DropRequest: 0.05, DropReply: 0.05, CutRequest: 0.05, CutReply: 0.05,
				DelayRequest: 0.1, DelayUpTo: time.Second,
			})
			for i := range neighbours {
				c := dialer(t, n.Host(string(rune('b'+i))))
				go func() {
					for range 50 {
						_ = c.Incr(t.Context(), "m").Err()
					}
				}()
			}
			c := dialer(t, n.Host("a"), func(o *redis.Options) { o.PoolSize = 1 })
			start := time.Now()
			for range 100 {
				err := c.Incr(t.Context(), "n").Err()
				what := "fine"
				if err != nil {
					what = err.Error()
				}
				fate = append(fate, what+" at "+time.Since(start).String())
			}
			time.Sleep(time.Hour) // the neighbours are done
		})
		return fate
	}
	alone := life(7, 0)
	if again := life(7, 3); !slices.Equal(alone, again) {
		t.Fatalf("neighbours changed\n%q\nto\n%q", alone, again)
	}
	if other := life(8, 0); slices.Equal(alone, other) {
		t.Fatal("another seed changed nothing")
	}
}

func TestFaultsOutOfRangeAreRefusedByName(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		for _, f := range []sim.Faults{{DropReply: 1.5}, {CutReply: -0.1}, {Jitter: -1}} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%+v was taken", f)
					}
				}()
				n.SetFaults(f)
			}()
		}
	})
}
