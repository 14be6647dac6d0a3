package redistest

import (
	"net"
	"runtime"
	"testing"

	"github.com/redis/go-redis/v9"
)

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
