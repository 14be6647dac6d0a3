package sim_test

import (
	"errors"
	"io"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
)

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
