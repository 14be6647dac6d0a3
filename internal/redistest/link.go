package redistest

import (
	"bytes"
	"errors"
	"net"
	"time"
)

// link is one client's connection through a [Proxy]. Once it has a fault it
// keeps it: a stream that has lost bytes is of no more use to anybody.
type link struct {
	client net.Conn
	ended  chan struct{} // closed by endLocked

	// Guarded by Proxy.mu.
	server       net.Conn // nil where there is none: not yet, in a black hole, or closed unnoticed
	dropRequests bool     // implies dropReplies
	dropReplies  bool
	doomed       bool // ends with the next reply
	clientGone   bool // the client has closed, and the server must not learn it
}

// direction is which way bytes go.
type direction bool

const (
	toServer direction = true
	toClient direction = false
)

// connect opens the server's side of the link and starts the traffic. A link
// born into a black hole gets no server's side.
func (p *Proxy) connect(l *link) {
	server, err := p.dial(l)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case l.isOver():
		if server != nil {
			_ = server.Close()
		}
		return
	case err != nil && !l.dropReplies:
		p.endLocked(l)
		return
	case server != nil:
		l.server = server
		p.startLocked(l, server, toClient)
	}
	// Without a server here, replies are being lost, and a server that is not
	// there looks like one that does not answer.
	p.startLocked(l, l.client, toServer)
}

var errBlackHole = errors.New("nothing gets through")

// dial returns a connection to the target, or errBlackHole.
func (p *Proxy) dial(l *link) (net.Conn, error) {
	p.mu.Lock()
	hole := l.dropRequests
	p.mu.Unlock()
	if hole {
		return nil, errBlackHole
	}
	return new(net.Dialer).DialContext(p.ctx, "tcp", p.target)
}

// startLocked starts the two goroutines that take a link's bytes in one
// direction: one reads them, the other passes them on when they are due.
func (p *Proxy) startLocked(l *link, from net.Conn, way direction) {
	chunks := make(chan chunk, 64)
	p.wg.Go(func() { p.read(l, from, chunks) })
	p.wg.Go(func() { p.passOn(l, chunks, way) })
}

// chunk is what one read returned.
type chunk struct {
	bytes []byte
	due   time.Time
}

// read takes bytes from one side until it closes.
func (p *Proxy) read(l *link, from net.Conn, chunks chan<- chunk) {
	defer close(chunks)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			p.mu.Lock()
			due := time.Now().Add(p.delay)
			p.mu.Unlock()
			select {
			case chunks <- chunk{bytes.Clone(buf[:n]), due}:
			case <-l.ended:
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// passOn gives chunks to the other side until there are no more, and then
// deals with the end of the stream.
func (p *Proxy) passOn(l *link, chunks <-chan chunk, way direction) {
	for c := range chunks {
		if wait := time.Until(c.due); wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-timer.C:
			case <-l.ended:
				timer.Stop()
			}
		}
		if to := p.judge(l, c.bytes, way); to != nil {
			// An error is a closed connection, which its reader notices too.
			_, _ = to.Write(c.bytes)
		}
	}
	p.streamEnded(l, way)
}

// judge decides what becomes of a chunk: it returns where to write it, or nil
// for nowhere.
func (p *Proxy) judge(l *link, b []byte, way direction) net.Conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.isOver() {
		return nil
	}
	if way == toServer {
		if l.dropRequests || l.server == nil {
			return nil
		}
		if p.cuts > 0 && !l.doomed && !setsUpConnection(b) {
			p.cuts--
			l.doomed = true
		}
		return l.server
	}
	if l.doomed {
		p.endLocked(l)
		return nil
	}
	if l.dropReplies {
		return nil
	}
	return l.client
}

// streamEnded passes on that one side has closed, unless that is to be lost as
// well: then the other side stays open until it closes or the proxy heals.
func (p *Proxy) streamEnded(l *link, way direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case l.isOver():
	case way == toClient && l.dropReplies && !l.clientGone:
		_ = l.server.Close()
		l.server = nil
	case way == toServer && l.dropRequests && l.server != nil:
		l.clientGone = true
		_ = l.client.Close()
	default:
		p.endLocked(l)
	}
}

// endLocked closes both sides of a link. Its goroutines end soon after.
func (p *Proxy) endLocked(l *link) {
	if l.isOver() {
		return
	}
	close(l.ended)
	delete(p.links, l)
	_ = l.client.Close()
	if l.server != nil {
		_ = l.server.Close()
	}
}

func (l *link) isOver() bool {
	select {
	case <-l.ended:
		return true
	default:
		return false
	}
}

// setsUpConnection tells whether a request in the Redis protocol begins with a
// command that a client sends by itself when it has connected.
func setsUpConnection(request []byte) bool {
	// *2\r\n$4\r\nAUTH\r\n...
	parts := bytes.SplitN(request, []byte("\r\n"), 4)
	if len(parts) < 4 || !bytes.HasPrefix(parts[0], []byte("*")) {
		return false
	}
	switch string(bytes.ToUpper(parts[2])) {
	case "HELLO", "AUTH", "SELECT", "CLIENT":
		return true
	}
	return false
}
