package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestProxyPassesEverythingOn(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	client := redis.NewClient(&redis.Options{Addr: p.Addr()})
	defer client.Close()
	big := strings.Repeat("x", 5<<20)
	mustSet(t, client, "k", big)
	if got, err := client.Get(t.Context(), "k").Result(); err != nil || got != big {
		t.Errorf("got %d bytes back, %v; want %d", len(got), err, len(big))
	}
}

func TestProxyPassesOnThatASideHasClosed(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	quitter := dial(t, p.Addr())
	quitter.mustAnswer("QUIT", "+OK")
	quitter.mustEnd()

	leaver := dial(t, p.Addr())
	leaver.mustAnswer("CLIENT SETNAME leaver", "+OK")
	_ = leaver.Close()
	direct := s.Client(t)
	eventually(t, "the server sees the client leave", func(ctx context.Context) error {
		list, err := direct.ClientList(ctx).Result()
		if err == nil && strings.Contains(list, "name=leaver") {
			err = errors.New(list)
		}
		return err
	})
	if n := p.Connections(); n != 0 {
		t.Errorf("%d connections left", n)
	}
}

func TestProxyClosesClientsOfATargetThatIsDown(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	s.Kill()
	dial(t, p.Addr()).mustEnd()
}

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

func TestRefuseClosesAndRefusesUntilHealed(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	old := dial(t, p.Addr())
	old.mustAnswer("PING", "+PONG")
	p.Refuse()
	p.Refuse()
	if n := p.Connections(); n != 0 {
		t.Errorf("%d connections left", n)
	}
	old.mustEnd()
	if c, err := net.Dial("tcp", p.Addr()); err == nil {
		_ = c.Close()
		t.Error("a connection was accepted")
	}
	p.Heal()
	p.Heal()
	dial(t, p.Addr()).mustAnswer("PING", "+PONG")
}

// Between fork and exec a child process has a copy of every descriptor. While
// it had the listener's, closing that did not free the address: connections
// were still accepted, and Heal could not listen again.
func TestRefuseHoldsWhileAChildProcessHasACopyOfTheListener(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only Linux lets a listener be shut down while there is a copy")
	}
	s := Start(t)
	p := NewProxy(t, s.Addr())
	dup, err := p.listener.File()
	if err != nil {
		t.Fatal(err)
	}
	defer dup.Close()
	p.Refuse()
	if c, err := net.Dial("tcp", p.Addr()); err == nil {
		_ = c.Close()
		t.Error("a connection was accepted")
	}
	p.Heal()
	dial(t, p.Addr()).mustAnswer("PING", "+PONG")
}

func TestCutClosesPresentConnectionsOnce(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	a, b := dial(t, p.Addr()), dial(t, p.Addr())
	a.mustAnswer("PING", "+PONG")
	b.mustAnswer("PING", "+PONG")
	if n := p.Connections(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	p.Cut()
	if n := p.Connections(); n != 0 {
		t.Errorf("%d connections left", n)
	}
	a.mustEnd()
	b.mustEnd()
	dial(t, p.Addr()).mustAnswer("PING", "+PONG")
}

func TestCutAfterRequestLosesTheReplyAndNotTheRequest(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	a, b, c := dial(t, p.Addr()), dial(t, p.Addr()), dial(t, p.Addr())
	p.CutAfterRequest(2)
	a.send("INCR n")
	a.mustEnd()
	b.send("INCR n")
	b.mustEnd()
	c.mustAnswer("INCR n", ":3")
}

func TestCutAfterRequestDoesNotCountTheSetUpOfConnections(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	client := redis.NewClient(&redis.Options{Addr: p.Addr(), DB: 1})
	defer client.Close()
	p.CutAfterRequest(2)
	// The first attempt and the first retry are carried out and lose their
	// replies; the second retry gets one.
	if n, err := client.Incr(t.Context(), "n").Result(); err != nil || n != 3 {
		t.Errorf("INCR with two lost replies and a retry: %d, %v; want 3", n, err)
	}
}

func TestCutAfterRequestWaitsForTheServersAnswer(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	c := dial(t, p.Addr())
	p.CutAfterRequest(1)
	c.send("BLPOP list 0")
	c.mustStaySilent()
	dial(t, s.Addr()).mustAnswer("RPUSH list x", ":1")
	c.mustEnd()
	dial(t, s.Addr()).mustAnswer("EXISTS list", ":0")
}

func TestDelayHoldsBothDirectionsBack(t *testing.T) {
	t.Parallel()
	const delay = 30 * time.Millisecond
	s := Start(t)
	p := NewProxy(t, s.Addr())
	c := dial(t, p.Addr())
	c.mustAnswer("PING", "+PONG")
	p.Delay(delay)
	sent := time.Now()
	c.mustAnswer("PING", "+PONG")
	if took := time.Since(sent); took < 2*delay {
		t.Errorf("the answer took %v, want at least %v", took, 2*delay)
	}
}

func TestDelayedBytesAreLostToAFaultThatComesFirst(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	c := dial(t, p.Addr())
	c.mustAnswer("INCR n", ":1")
	p.Delay(time.Hour)
	c.send("INCR n")
	c.mustStaySilent()
	p.Cut()
	p.Heal()
	dial(t, p.Addr()).mustAnswer("INCR n", ":2")
}

func TestProxyLeavesNoGoroutineBehind(t *testing.T) {
	t.Run("owner", func(t *testing.T) {
		s := Start(t)
		p := NewProxy(t, s.Addr())
		dial(t, p.Addr()).mustAnswer("PING", "+PONG")
		delayed := dial(t, p.Addr())
		delayed.mustAnswer("PING", "+PONG")
		p.Delay(time.Hour)
		delayed.send("PING")
		delayed.mustStaySilent()
		p.Refuse()
		p.Heal()
		p.Swallow()
		swallowed := dial(t, p.Addr())
		swallowed.send("PING")
		swallowed.mustStaySilent()
	})
	// The goroutines have said that they are done; the runtime may take a
	// moment longer to put them away.
	eventually(t, "the proxy's goroutines are gone", func(context.Context) error {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if bytes.Contains(stacks, []byte("redistest.(*Proxy)")) {
			return fmt.Errorf("still there:\n%s", stacks)
		}
		return nil
	})
}

// Run with the race detector: every fault is switched while traffic passes.
func TestFaultsMayBeSwitchedFromAnyGoroutine(t *testing.T) {
	t.Parallel()
	s := Start(t)
	p := NewProxy(t, s.Addr())
	faults := []func(){
		p.Swallow, p.SwallowReplies, p.Refuse, p.Cut, p.Heal,
		func() { p.CutAfterRequest(1) },
		func() { p.Delay(time.Millisecond) },
		func() { p.Connections() },
	}
	stop := make(chan struct{})
	var traffic, switches sync.WaitGroup
	for range 4 {
		traffic.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					pingOnce(p.Addr())
				}
			}
		})
	}
	for _, fault := range faults {
		switches.Go(func() {
			for range 50 {
				fault()
				runtime.Gosched()
			}
		})
	}
	switches.Wait()
	close(stop)
	traffic.Wait()
	p.Heal()
	dial(t, p.Addr()).mustAnswer("PING", "+PONG")
}

// pingOnce makes some traffic, whatever comes of it.
func pingOnce(addr string) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Millisecond))
	if _, err := c.Write([]byte("PING\r\n")); err == nil {
		_, _ = c.Read(make([]byte, 16))
	}
}
