package sim_test

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
)

func TestStalledServerExecutesNothingUntilItResumes(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		gone, patient := dialer(t, n.Host("gone")), dialer(t, n.Host("patient"), func(o *redis.Options) { o.ReadTimeout = time.Hour })
		warm(t, gone)
		n.Stall()
		if err := gone.Incr(t.Context(), "n").Err(); !isTimeout(err) {
			t.Fatal(err)
		}
		start := time.Now()
		go func() { time.Sleep(time.Minute); n.Resume() }()
		if _, err := patient.Incr(t.Context(), "n").Result(); err != nil || time.Since(start) != time.Minute {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		synctest.Wait()
		if got := value(n, "n"); got != "2" {
			t.Fatalf("counted %q: the request that was given up must have run too", got)
		}
	})
}

func TestRestartResetsConnectionsAndForgetsScripts(t *testing.T) {
	for _, keep := range []bool{true, false} {
		t.Run(map[bool]string{true: "keeping data", false: "losing data"}[keep], func(t *testing.T) {
			onNetwork(t, func(t *testing.T, n *sim.Network) {
				ctx := t.Context()
				c := dialer(t, n.Host("a"))
				script := redis.NewScript(`return redis.call("GET", KEYS[1])`)
				_ = c.Set(ctx, "k", "v", 0)
				if err := script.Load(ctx, c).Err(); err != nil {
					t.Fatal(err)
				}
				conn, _ := n.Host("a").Dial(ctx, "", "")
				defer conn.Close()
				sub := c.Subscribe(ctx, "c")
				defer sub.Close()
				_, _ = sub.Receive(ctx)

				n.Restart(keep)
				if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Fatalf("old connection: %v", err)
				}
				if _, err := sub.Receive(ctx); !errors.Is(err, syscall.ECONNRESET) {
					t.Fatalf("old subscription: %v", err)
				}
				if err := script.EvalSha(ctx, c, []string{"k"}).Err(); err == nil || !strings.HasPrefix(err.Error(), "NOSCRIPT") {
					t.Fatalf("script: %v", err)
				}
				if got := value(n, "k"); (got == "v") != keep {
					t.Fatalf("data: %q", got)
				}
				if _, err := sub.Receive(ctx); err != nil { // go-redis subscribes again
					t.Fatal(err)
				}
				if got := c.Publish(ctx, "c", "x").Val(); got != 1 {
					t.Fatalf("%d receivers", got)
				}
			})
		})
	}
}

func TestRestartLosesRequestsUnderWay(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		c := dialer(t, n.Host("a"))
		warm(t, c)
		n.SetFaults(sim.Faults{Latency: 100 * time.Millisecond})
		go func() { time.Sleep(50 * time.Millisecond); n.Restart(true) }()
		if err := c.Incr(t.Context(), "n").Err(); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := value(n, "n"); got != "" {
			t.Fatalf("executed: %q", got)
		}
	})
}

func TestIdleConnectionThatWasResetIsNoticedBeforeItIsUsed(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		c := dialer(t, n.Host("a"))
		warm(t, c)
		n.Restart(true)
		warm(t, c) // without a retry
		if got := c.PoolStats().StaleConns; got != 1 {
			t.Fatalf("%d stale connections", got)
		}
	})
}

func TestFlushedScriptAnswersNoScript(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		c := dialer(t, n.Host("a"))
		script := redis.NewScript(`return 1`)
		if err := script.Load(t.Context(), c).Err(); err != nil {
			t.Fatal(err)
		}
		n.FlushScripts()
		err := script.EvalSha(t.Context(), c, nil).Err()
		if err == nil || !strings.HasPrefix(err.Error(), "NOSCRIPT") {
			t.Fatal(err)
		}
	})
}

func TestServersClockIsTheBubblesPlusItsOffset(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		ctx := t.Context()
		c := dialer(t, n.Host("a"))
		inLua := redis.NewScript(`local t = redis.call("TIME"); return t[1] * 1000000 + t[2]`)
		check := func(offset time.Duration) {
			t.Helper()
			want := time.Now().Add(offset)
			if got := c.Time(ctx).Val(); !got.Equal(want) {
				t.Errorf("TIME is %v, want %v", got, want)
			}
			if got, err := inLua.Run(ctx, c, nil).Int64(); err != nil || got != want.UnixMicro() {
				t.Errorf("in Lua it is %v, want %v (%v)", got, want.UnixMicro(), err)
			}
		}
		check(0)
		time.Sleep(1234567 * time.Microsecond)
		check(0)
		n.SetClockOffset(time.Hour)
		check(time.Hour)
		time.Sleep(time.Second)
		check(time.Hour)
		n.SetClockOffset(-time.Hour)
		check(-time.Hour)
	})
}

func TestHostKnowsOfAJumpWhenAReplyHasTold(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		h := n.Host("h")
		c := dialer(t, h)
		ask := func() {
			if err := c.Eval(t.Context(), "local t = redis.call('TIME') return {t[1] * 1000000 + t[2], 0}", nil).Err(); err != nil {
				t.Fatal(err)
			}
		}
		warm(t, c)
		time.Sleep(time.Millisecond)
		if !h.Knows(time.Now()) {
			t.Error("before any jump there is nothing that a host does not know")
		}
		n.SetClockOffset(time.Hour)
		time.Sleep(time.Second)
		if h.Knows(time.Now()) {
			t.Error("nobody has told the host that the clock was set")
		}
		warm(t, c)
		time.Sleep(time.Nanosecond)
		if h.Knows(time.Now()) {
			t.Error("a PONG does not say what the time is")
		}
		ask()
		if h.Knows(time.Now()) {
			t.Error("it may not have read the reply yet: this is the same instant")
		}
		time.Sleep(time.Nanosecond)
		if !h.Knows(time.Now()) {
			t.Error("a reply has told it")
		}
	})
}

func TestAHostKnowsTheClockWhenItHasReadAPipelineToItsEnd(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		h := n.Host("h")
		c := dialer(t, h)
		half, whole, failing := 0, 0, 0
		for i := range 60 {
			n.SetFaults(sim.Faults{})
			warm(t, c)
			n.SetFaults(sim.Faults{CutReply: 0.3})
			n.SetClockOffset(time.Duration(i) * time.Hour)
			pipe := c.Pipeline()
			told := pipe.Eval(t.Context(), "local t = redis.call('TIME') return {t[1] * 1000000 + t[2], 0}", nil)
			if i%3 == 0 {
				pipe.Do(t.Context(), "nonsense")
			} else {
				pipe.Echo(t.Context(), "more")
			}
			_, err := pipe.Exec(t.Context())
			time.Sleep(time.Nanosecond)
			if h.Knows(time.Now()) != (err == nil) {
				t.Errorf("the pipeline ended with %v, and the host knows: %t", err, h.Knows(time.Now()))
			}
			var answered redis.Error
			switch {
			case err == nil:
				whole++
			case errors.As(err, &answered):
				failing++
			case told.Val() != nil:
				half++
			}
		}
		if half == 0 || whole == 0 || failing == 0 {
			t.Errorf("%d pipelines were read in part, %d to their end, %d with an error: want all kinds", half, whole, failing)
		}
	})
}

func TestKeysExpireWithTheClockOnlyWhenAsked(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		ctx := t.Context()
		c := dialer(t, n.Host("a"))
		_ = c.Set(ctx, "k", "v", time.Minute)
		time.Sleep(time.Hour)
		if got := c.Exists(ctx, "k").Val(); got != 1 {
			t.Fatal("it expired by itself")
		}
		n.Server().ClockTTL(true)
		time.Sleep(time.Hour)
		if got := c.Exists(ctx, "k").Val(); got != 0 {
			t.Fatal("it did not expire")
		}
	})
}

func TestKeysExpireAboutWhenTheirTimeIsUp(t *testing.T) {
	const grain, life = 10 * time.Millisecond, time.Second
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		ctx := t.Context()
		n.ExpireKeys(grain)
		c := dialer(t, n.Host("a"))
		for offset := range grain / time.Millisecond {
			warm(t, c)
			time.Sleep(offset * time.Millisecond)
			_ = c.Set(ctx, "k", "v", life)
			time.Sleep(life - grain)
			if c.Exists(ctx, "k").Val() != 1 {
				t.Errorf("set %v after another command, it is gone more than %v too early", offset*time.Millisecond, grain)
			}
			time.Sleep(2 * grain)
			if c.Exists(ctx, "k").Val() != 0 {
				t.Errorf("set %v after another command, it is there for more than %v too long", offset*time.Millisecond, grain)
			}
		}
	})
}

func TestServerInErrorStillTakesConnections(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		ctx := t.Context()
		n.SetError("LOADING Redis is loading the dataset in memory")
		c := dialer(t, n.Host("a"))
		if err := c.Incr(ctx, "n").Err(); err == nil || !strings.HasPrefix(err.Error(), "LOADING") {
			t.Fatal(err)
		}
		sub := c.Subscribe(ctx, "c")
		defer sub.Close()
		if _, err := sub.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		n.FlushScripts()
		n.SetError("")
		if got := c.Incr(ctx, "n").Val(); got != 1 {
			t.Fatalf("counted %d", got)
		}
	})
}

func TestObserverSeesEachRequestAfterItsEffectAndBeforeItsReply(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		n.SetFaults(sim.Faults{Latency: time.Second})
		c := dialer(t, n.Host("a"), func(o *redis.Options) {
			o.ReadTimeout = time.Hour
			o.PipelinePoolSize = -1 // pipelines over the connection that is there
		})
		warm(t, c)
		start := time.Now()
		var seen []string
		n.OnCommand(func(host string, now time.Time, cmd []string) {
			effect := value(n, "k")
			seen = append(seen, host+" "+strings.Join(cmd, " ")+" "+now.Sub(start).String()+" "+effect)
		})
		_, err := c.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			p.Set(t.Context(), "k", "1", 0)
			p.Incr(t.Context(), "k")
			return nil
		})
		want := []string{"a set k 1 1s 1", "a incr k 1s 2"}
		if err != nil || !slices.Equal(seen, want) || time.Since(start) != 2*time.Second {
			t.Fatalf("%v, %q after %v", err, seen, time.Since(start))
		}
	})
}

func TestCommandThatBlocksIsRefused(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		c := dialer(t, n.Host("a"))
		if err := c.BLPop(t.Context(), time.Hour, "l").Err(); err == nil || !strings.Contains(err.Error(), "block") {
			t.Fatal(err)
		}
	})
}
