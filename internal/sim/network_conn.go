package sim

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2/server"
)

// conn is one connection. Its methods in this file are the client's end, a
// net.Conn; the server's end is in network_link.go.
type conn struct {
	// Immutable after construction.
	host  *Host
	local addr
	peer  *server.Peer

	// Only the server's goroutine uses these.
	db    string // selected by SELECT
	multi bool   // between MULTI and EXEC

	mu sync.Mutex

	// To the server, guarded by mu.
	requests *rand.Rand // draws fates
	partial  []byte     // the beginning of a request
	queue    []request  // under way, in order
	queued   time.Time  // when the last of them arrives
	arrived  alarm      // queue, closed or gone changed

	// To the client, guarded by mu.
	messages *rand.Rand // draws what happens to pub/sub messages
	inbound  []chunk    // under way or to be read, in order
	readable alarm      // inbound, closed or a deadline changed
	reply    []byte     // answer of the request that is being executed
	raw      []byte     // beginning of a frame, when subscribed
	owed     int        // replies that the client has asked for and not read: of one pipeline
	read     []news     // of those that it has read
	failing  bool       // one of them was an error: the client may ask again

	// What the connection has come to, guarded by mu.
	subscribed    bool // it asked for pub/sub once
	dead          bool // a black hole
	gone          bool // the server's end is over
	closed        bool // the client's end is over
	readDeadline  time.Time
	writeDeadline time.Time
}

// request is a command on its way to the server.
type request struct {
	cmd     []string
	arrives time.Time
	fate    fate
}

// chunk is bytes, or the end of all bytes, on their way to the client.
type chunk struct {
	arrives time.Time
	data    []byte
	err     error
	replies int
	failing bool   // one of them is an error
	news    []news // of replies
}

// news is what a reply tells of the server's clock.
type news struct {
	key   string // of the script that was answered
	epoch int64  // the network's, when the request was executed
}

// newConn connects h and starts the server's end. network.mu is held.
func newConn(h *Host) *conn {
	h.dialled++
	name := fmt.Sprintf("%s:%d", h.name, h.dialled)
	c := &conn{
		host:     h,
		local:    addr(name),
		requests: h.network.rand("requests of " + name),
		messages: h.network.rand("messages to " + name),
	}
	c.arrived.L = &c.mu
	c.readable.L = &c.mu
	c.peer = server.NewPeer(bufio.NewWriter((*sink)(c)))
	h.conns[c] = struct{}{}
	h.network.wg.Go(c.serve)
	return c
}

// Read waits for bytes from the server, until the read deadline.
func (c *conn) Read(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		now := time.Now()
		if c.closed {
			return 0, c.fail("read", net.ErrClosed)
		}
		if past(c.readDeadline, now) {
			return 0, c.fail("read", os.ErrDeadlineExceeded)
		}
		wake := c.readDeadline
		if len(c.inbound) > 0 {
			first := &c.inbound[0]
			if !first.arrives.After(now) {
				return c.take(first, b)
			}
			if wake.IsZero() || first.arrives.Before(wake) {
				wake = first.arrives
			}
		}
		c.readable.wait(wake)
	}
}

func (c *conn) take(first *chunk, b []byte) (int, error) {
	if first.err != nil { // stays there, for all reads to come
		if first.err == io.EOF {
			return 0, io.EOF // as a socket does, without wrapping
		}
		return 0, c.fail("read", first.err)
	}
	n := copy(b, first.data)
	if first.data = first.data[n:]; len(first.data) == 0 {
		c.heard(first)
		c.inbound = c.inbound[1:]
	}
	return n, nil
}

// heard notes what replies tell the host. A client hands out the replies to a pipeline when it has read the last of
// them; where it cannot, or one is an error, it may ask for all of them once more, which takes as long as it takes.
func (c *conn) heard(x *chunk) {
	c.owed -= x.replies
	c.read = append(c.read, x.news...)
	c.failing = c.failing || x.failing
	if c.owed > 0 {
		return
	}
	if !c.failing {
		c.host.hear(c.read)
	}
	c.owed, c.read, c.failing = 0, c.read[:0], false
}

// Write sends requests on their way and never waits: the other side's buffer
// has no end. What a black hole gets is gone.
func (c *conn) Write(b []byte) (int, error) {
	faults := c.host.faults.Load()
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.closed {
		return 0, c.fail("write", net.ErrClosed)
	}
	if past(c.writeDeadline, now) {
		return 0, c.fail("write", os.ErrDeadlineExceeded)
	}
	if c.over(now) != nil {
		return 0, c.fail("write", syscall.EPIPE)
	}
	if c.dead || c.gone {
		c.host.swallowed.Store(now.UnixNano())
		return len(b), nil
	}
	rest := b
	if len(c.partial) > 0 {
		c.partial = append(c.partial, b...)
		rest = c.partial
	}
	for len(rest) > 0 {
		cmd, n, err := parseRequest(rest)
		if n == 0 && err == nil {
			break
		}
		r := request{cmd: cmd, fate: faults.fate(c.requests)}
		if err != nil { // the server would hang up
			r.fate.cutRequest, n = true, len(rest)
		}
		rest = rest[n:]
		if cmd == nil && err == nil {
			continue
		}
		r.arrives = later(now.Add(r.fate.travel), c.queued)
		c.queued = r.arrives
		c.queue = append(c.queue, r)
		c.owed++
	}
	c.partial = append(c.partial[:0], rest...) // safe when rest is its own tail
	c.arrived.Broadcast()
	return len(b), nil
}

// Close ends the client's end. What was written before still arrives.
func (c *conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.fail("close", net.ErrClosed)
	}
	c.closed = true
	c.inbound = nil
	c.readable.stop()
	c.readable.Broadcast()
	c.arrived.Broadcast()
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return addr("redis") }

func (c *conn) SetDeadline(t time.Time) error {
	return c.setDeadlines(func() { c.readDeadline, c.writeDeadline = t, t })
}

func (c *conn) SetReadDeadline(t time.Time) error {
	return c.setDeadlines(func() { c.readDeadline = t })
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	return c.setDeadlines(func() { c.writeDeadline = t })
}

func (c *conn) setDeadlines(set func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return c.fail("set", net.ErrClosed)
	}
	set()
	c.readable.Broadcast()
	return nil
}

// SyscallConn lets go-redis notice, as it does with a socket, that an idle
// connection has ended, before it uses it again. Unread bytes are not noticed
// this way.
func (c *conn) SyscallConn() (syscall.RawConn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, c.fail("raw-read", net.ErrClosed)
	}
	if err := c.over(time.Now()); err != nil {
		return nil, c.fail("raw-read", err)
	}
	return quiet{}, nil
}

// over is what ended the connection, once the client could know.
func (c *conn) over(now time.Time) error {
	if i := len(c.inbound) - 1; i >= 0 && !c.inbound[i].arrives.After(now) {
		return c.inbound[i].err
	}
	return nil
}

func (c *conn) fail(op string, err error) error {
	return &net.OpError{Op: op, Net: "sim", Source: c.local, Addr: addr("redis"), Err: err}
}

// quiet is a raw connection where nothing waits to be read.
type quiet struct{}

func (quiet) Control(func(fd uintptr)) error    { return syscall.EINVAL }
func (quiet) Read(func(fd uintptr) bool) error  { return nil }
func (quiet) Write(func(fd uintptr) bool) error { return syscall.EINVAL }

func past(deadline, now time.Time) bool { return !deadline.IsZero() && !deadline.After(now) }

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// alarm is a condition that time can signal too.
type alarm struct {
	sync.Cond
	timer *time.Timer
	at    time.Time // when timer rings, zero when it does not
}

// wait waits for a signal, or until at unless that is zero. It may return
// early. A timer that rings sooner is left as it is: deadlines move with each
// command, and a timer moved with them would cost more than a wake-up now and
// then.
func (a *alarm) wait(at time.Time) {
	if !at.IsZero() && (a.at.IsZero() || at.Before(a.at)) {
		a.at = at
		if a.timer == nil {
			a.timer = time.AfterFunc(time.Until(at), a.ring)
		} else {
			a.timer.Reset(time.Until(at))
		}
	}
	a.Wait()
}

func (a *alarm) ring() {
	a.L.Lock()
	defer a.L.Unlock()
	a.at = time.Time{}
	a.Broadcast()
}

func (a *alarm) stop() {
	if a.timer != nil {
		a.timer.Stop()
	}
}
