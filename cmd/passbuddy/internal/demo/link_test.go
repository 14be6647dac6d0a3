package demo

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// dialed makes a connection over a link, and returns the server's end too.
func dialed(t *testing.T, l *link, server net.Listener) (client, accepted net.Conn) {
	t.Helper()
	client, err := l.dial(t.Context(), "tcp", server.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if accepted, err = server.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = client.Close(), accepted.Close() })
	return client, accepted
}

func TestAStalledLinkLosesWhatIsSent(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	l := newLink()
	client, accepted := dialed(t, l, server)
	say := func(to net.Conn, text string) {
		t.Helper()
		if n, err := to.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatal(n, err)
		}
	}
	arrived := make([]byte, 100)
	say(client, "before")
	if n, err := accepted.Read(arrived); string(arrived[:n]) != "before" {
		t.Fatal(err)
	}
	l.become(stalled)
	say(client, "meanwhile ")
	say(accepted, "meanwhile")
	_ = client.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := client.Read(make([]byte, 100)); n != 0 && err == nil {
		t.Errorf("%d bytes have come back", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.dial(ctx, "tcp", server.Addr().String()); !errors.Is(err, context.Canceled) {
		t.Errorf("a new connection: %v", err)
	}
	l.become(open) // the connection has lost bytes: it is of no use
	if n, err := accepted.Read(arrived); n > 0 || err == nil {
		t.Errorf("%q has arrived: %v", arrived[:n], err)
	}
	client, accepted = dialed(t, l, server)
	say(client, "after")
	_ = client.Close()
	if got, err := io.ReadAll(accepted); string(got) != "after" || err != nil {
		t.Errorf("%q has arrived: %v", got, err)
	}
}

func TestADeadLinkIsClosed(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	l := newLink()
	_, accepted := dialed(t, l, server)
	l.become(dead)
	l.become(open) // nobody comes back
	if got, err := io.ReadAll(accepted); len(got) > 0 || err != nil {
		t.Errorf("%q: %v", got, err)
	}
	if _, err := l.dial(t.Context(), "tcp", server.Addr().String()); err == nil {
		t.Error("a process that has gone makes a connection")
	}
}
