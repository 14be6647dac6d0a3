package sim_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
)

func TestClientTalksToTheServerAsOverASocket(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) {
			onNetwork(t, func(t *testing.T, n *sim.Network) {
				c := dialer(t, n.Host("a"), func(o *redis.Options) { o.Protocol = protocol })
				ctx := t.Context()
				big := strings.Repeat("0123456789abcdef", 1<<14)
				if err := c.Set(ctx, "k", big, 0).Err(); err != nil {
					t.Fatal(err)
				}
				if got, err := c.Get(ctx, "k").Result(); err != nil || got != big {
					t.Fatalf("got %d bytes, %v", len(got), err)
				}
				if err := c.Get(ctx, "none").Err(); err != redis.Nil {
					t.Fatalf("missing key: %v", err)
				}
				script := redis.NewScript(`return {KEYS[1], tonumber(ARGV[1]) + 1}`)
				if got, err := script.Run(ctx, c, []string{"x"}, 41).Slice(); err != nil || fmt.Sprint(got) != "[x 42]" {
					t.Fatalf("script: %v, %v", got, err)
				}
			})
		})
	}
}

func TestPipelineKeepsItsOrder(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		n.SetFaults(sim.Faults{Latency: time.Millisecond, Jitter: 10 * time.Millisecond})
		c := dialer(t, n.Host("a"))
		var cmds []*redis.IntCmd
		_, err := c.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			for range 1000 {
				cmds = append(cmds, p.Incr(t.Context(), "n"))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, cmd := range cmds {
			if cmd.Val() != int64(i+1) {
				t.Fatalf("command %d got %d", i, cmd.Val())
			}
		}
	})
}

func TestMessagesReachTheirSubscriberUntilItLeaves(t *testing.T) {
	for _, protocol := range []int{2, 3} {
		t.Run(fmt.Sprintf("RESP%d", protocol), func(t *testing.T) {
			onNetwork(t, func(t *testing.T, n *sim.Network) {
				n.SetFaults(sim.Faults{Latency: time.Millisecond})
				ctx := t.Context()
				listener := dialer(t, n.Host("listener"), func(o *redis.Options) { o.Protocol = protocol })
				speaker := dialer(t, n.Host("speaker"))
				sub := listener.Subscribe(ctx, "news")
				if _, err := sub.Receive(ctx); err != nil {
					t.Fatal(err)
				}
				if err := sub.PSubscribe(ctx, "n*"); err != nil {
					t.Fatal(err)
				}
				messages := sub.Channel()
				time.Sleep(time.Minute) // go-redis pings its idle subscription
				if got := speaker.Publish(ctx, "news", "hello").Val(); got != 2 {
					t.Fatalf("%d receivers", got)
				}
				got := []string{(<-messages).Payload, (<-messages).Payload}
				if !slices.Equal(got, []string{"hello", "hello"}) {
					t.Fatalf("got %q", got)
				}
				_ = sub.Close()
				synctest.Wait()
				time.Sleep(time.Second)
				if got := speaker.Publish(ctx, "news", "anybody?").Val(); got != 0 {
					t.Fatalf("%d receivers after the only one left", got)
				}
			})
		})
	}
}

func TestRoundTripTakesTwiceTheLatencyAndNothingWithoutOne(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		c := dialer(t, n.Host("a"))
		start := time.Now()
		warm(t, c)
		if d := time.Since(start); d != 0 {
			t.Fatalf("perfect network took %v", d)
		}
		n.SetFaults(sim.Faults{Latency: 30 * time.Millisecond})
		start = time.Now()
		warm(t, c)
		if d := time.Since(start); d != 60*time.Millisecond {
			t.Fatalf("round trip took %v", d)
		}
	})
}

func TestContextEndsACallInVirtualTime(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		c := dialer(t, n.Host("a"))
		warm(t, c)
		n.Stall()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		err := c.Get(ctx, "k").Err()
		if d := time.Since(start); !isTimeout(err) || d != 100*time.Millisecond {
			t.Fatalf("%v after %v", err, d)
		}
	})
}

func TestPoolOpensNoMoreConnectionsThanItMay(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		n.SetFaults(sim.Faults{Latency: time.Millisecond})
		c := dialer(t, n.Host("a"), func(o *redis.Options) { o.PoolSize = 3 })
		results := make(chan error)
		for range 30 {
			go func() { results <- c.Incr(t.Context(), "n").Err() }()
		}
		for range 30 {
			if err := <-results; err != nil {
				t.Fatal(err)
			}
		}
		if got := c.PoolStats().TotalConns; got != 3 {
			t.Fatalf("%d connections", got)
		}
		if got := c.Get(t.Context(), "n").Val(); got != "30" {
			t.Fatalf("counted %s", got)
		}
	})
}

func TestConnectionKeepsTheRulesOfNetConn(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		conn, err := n.Host("a").Dial(t.Context(), "", "")
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)

		_ = conn.SetReadDeadline(time.Now().Add(time.Hour))
		go func() {
			time.Sleep(time.Minute)
			_ = conn.SetReadDeadline(time.Now()) // earlier, while the read waits
		}()
		start := time.Now()
		if _, err := conn.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(start) != time.Minute {
			t.Fatalf("%v after %v", err, time.Since(start))
		}
		_ = conn.SetDeadline(time.Time{})

		// A request in three parts, then half of a second one.
		for _, part := range []string{"*1\r\n$4\r", "\nPIN", "G\r\n*1\r\n$4\r\nPI"} {
			if _, err := io.WriteString(conn, part); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if k, err := conn.Read(buf[:3]); string(buf[:k]) != "+PO" || err != nil {
			t.Fatalf("%q, %v", buf[:k], err)
		}
		if k, err := conn.Read(buf); string(buf[:k]) != "NG\r\n" || err != nil {
			t.Fatalf("%q, %v", buf[:k], err)
		}

		_, _ = io.WriteString(conn, "NG\r\n*1\r\n$4\r\nQUIT\r\n")
		if all, err := io.ReadAll(conn); string(all) != "+PONG\r\n+OK\r\n" || err != nil {
			t.Fatalf("%q, %v", all, err)
		}
		if _, err := conn.Write(buf); !errors.Is(err, syscall.EPIPE) {
			t.Fatalf("write after the end: %v", err)
		}

		go func() { time.Sleep(time.Second); _ = conn.Close() }()
		time.Sleep(2 * time.Second)
		if _, err := conn.Read(buf); !errors.Is(err, net.ErrClosed) {
			t.Fatalf("read after close: %v", err)
		}
	})
}

func TestSomethingThatIsNotRedisIsHungUpOn(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		conn, _ := n.Host("a").Dial(t.Context(), "", "")
		defer conn.Close()
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\n\r\n")
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Fatal(err)
		}
	})
}

func TestClosingTheNetworkEndsEverythingUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := sim.NewNetwork(1)
		n.SetFaults(sim.Faults{DelayRequest: 1, DelayUpTo: 1000 * time.Hour, Duplicate: 1, DuplicateAfter: 1000 * time.Hour})
		late := dialer(t, n.Host("late"), func(o *redis.Options) { o.ReadTimeout = -1 })
		n.Host("stalled").SetFaults(sim.Faults{Duplicate: 1, DuplicateAfter: 1000 * time.Hour})
		stalled := dialer(t, n.Host("stalled"), func(o *redis.Options) { o.ReadTimeout = -1 })
		warm(t, stalled)
		sub := stalled.Subscribe(t.Context(), "c")
		_, _ = sub.Receive(t.Context())
		n.Host("cut off").Partition()
		n.Stall()

		results := make(chan error)
		go func() { results <- late.Set(t.Context(), "k", 1, 0).Err() }()
		go func() { results <- stalled.Set(t.Context(), "k", 1, 0).Err() }()
		go func() { _, err := n.Host("cut off").Dial(t.Context(), "", ""); results <- err }()
		synctest.Wait()
		start := time.Now()
		n.Close()
		n.Close()
		for range 3 {
			if err := <-results; err == nil {
				t.Error("a call succeeded on a closed network")
			}
		}
		if _, err := n.Host("new").Dial(t.Context(), "", ""); err == nil {
			t.Error("dialled a closed network")
		}
		if time.Since(start) != 0 {
			t.Errorf("took %v", time.Since(start))
		}
		_ = sub.Close()
	})
}
