package demo

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
)

// A link is the way from one process to Redis. It is open, stalled or dead. Safe for concurrent use.
type link struct {
	mu      sync.Mutex
	state   linkState
	changed chan struct{} // closed when the state changes
	conns   map[*conn]bool
}

type linkState int

const (
	open    linkState = iota
	stalled           // what is sent arrives nowhere, and nobody is told
	dead              // the process has gone: its connections are closed, and it makes no new one
)

func newLink() *link { return &link{changed: make(chan struct{}), conns: map[*conn]bool{}} }

// become changes the state. Connections that have met a stall have lost bytes: they are closed when it is over.
func (l *link) become(state linkState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == dead || l.state == state {
		return
	}
	l.state = state
	close(l.changed)
	l.changed = make(chan struct{})
	for c := range l.conns {
		if state == stalled {
			c.lost.Store(true)
		} else if state == dead || c.lost.Load() {
			_ = c.Conn.Close()
			delete(l.conns, c)
		}
	}
}

// dial waits while the link is stalled.
func (l *link) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	for {
		l.mu.Lock()
		state, changed := l.state, l.changed
		l.mu.Unlock()
		if state == dead {
			return nil, syscall.ENETUNREACH
		}
		if state == open {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	inner, err := new(net.Dialer).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: inner, link: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state == dead {
		_ = inner.Close()
		return nil, syscall.ENETUNREACH
	}
	c.lost.Store(l.state == stalled)
	l.conns[c] = true
	return c, nil
}

// A conn loses what passes while its link is stalled.
type conn struct {
	net.Conn
	link *link
	lost atomic.Bool
}

func (c *conn) Write(b []byte) (int, error) {
	if c.lost.Load() {
		return len(b), nil
	}
	return c.Conn.Write(b)
}

func (c *conn) Read(b []byte) (int, error) {
	for {
		n, err := c.Conn.Read(b)
		if err != nil || !c.lost.Load() {
			return n, err
		}
	}
}

func (c *conn) Close() error {
	c.link.mu.Lock()
	delete(c.link.conns, c)
	c.link.mu.Unlock()
	return c.Conn.Close()
}
