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
