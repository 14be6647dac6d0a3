package redistest

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy is a TCP proxy in front of a server, and a network that fails on
// command. It passes bytes on unchanged until one of its fault methods is
// called. Faults add up until [Proxy.Heal].
//
// All methods are safe for concurrent use from any goroutine, and none waits
// for traffic: when one returns, it governs everything that the proxy has not
// begun to pass on, delayed bytes included.
type Proxy struct {
	t      testing.TB
	target string
	addr   string
	ctx    context.Context // of dials; ends with the proxy
	wg     sync.WaitGroup  // every goroutine of the proxy; Add only with mu held and closed false

	mu           sync.Mutex
	closed       bool
	listener     *net.TCPListener // nil while refusing
	links        map[*link]struct{}
	dropRequests bool // for new links, as the next
	dropReplies  bool
	cuts         int // requests still to be cut off from their replies
	delay        time.Duration
}

// NewProxy listens on a free loopback port and connects every client that
// comes to a new connection to target, a TCP address. A client is accepted
// even when the target is not; its connection is then closed. When t ends, the
// proxy closes all connections and waits for its goroutines.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{t: t, target: target, ctx: ctx, links: make(map[*link]struct{})}
	t.Cleanup(func() {
		cancel()
		p.close()
	})
	for range 10 {
		port, err := freePort(t)
		if err != nil {
			t.Fatalf("redistest: %v", err)
		}
		p.addr = loopback(port)
		p.mu.Lock()
		err = p.listenLocked()
		p.mu.Unlock()
		if err == nil {
			return p
		}
	}
	t.Fatal("redistest: every port tried was taken by another process")
	return nil
}

// close ends everything and waits for it.
func (p *Proxy) close() {
	p.mu.Lock()
	p.closed = true
	p.refuseLocked()
	p.mu.Unlock()
	p.wg.Wait()
}

// Addr returns the address that clients connect to, the same for the proxy's
// whole life.
func (p *Proxy) Addr() string { return p.addr }

// Connections returns how many clients are connected.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for l := range p.links {
		if !l.clientGone {
			n++
		}
	}
	return n
}

// Swallow makes a black hole of the proxy: present and new connections accept
// bytes, nothing reaches the server, and nothing comes back. Neither side
// learns that the other has closed its end. What is swallowed is lost: Heal
// does not bring it back.
func (p *Proxy) Swallow() { p.drop(true) }

// SwallowReplies lets requests through to the server, on present and new
// connections, and loses everything that the server sends.
func (p *Proxy) SwallowReplies() { p.drop(false) }

func (p *Proxy) drop(requests bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropReplies = true
	p.dropRequests = p.dropRequests || requests
	for l := range p.links {
		l.dropReplies = true
		l.dropRequests = l.dropRequests || requests
	}
}

// Refuse closes all connections and stops listening, so that new ones are
// refused.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuseLocked()
}

func (p *Proxy) refuseLocked() {
	if p.listener != nil {
		// An error means that accept has closed it already.
		_ = stopListening(p.listener)
		p.listener = nil
	}
	p.cutLocked()
}

// Cut closes all present connections. New ones are not affected.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutLocked()
}

func (p *Proxy) cutLocked() {
	for l := range p.links {
		p.endLocked(l)
	}
}

// CutAfterRequest loses the replies to the next n requests, whichever
// connections they come on: each is passed on, and when the server has
// answered, the answer is dropped and the connection closed. So the server has
// carried out the request by the time the client sees the error. A server that
// never answers leaves the connection open.
//
// A request is what a client sends in one piece: a command, a pipeline or a
// transaction. Commands that set up a connection (HELLO, AUTH, SELECT, CLIENT)
// pass uncounted, so that n counts what the test itself sends and not the
// reconnecting in between; retries and health checks do count. The answer is
// the first thing that the server sends after the request, which on a
// connection with several requests under way may belong to an earlier one.
//
// Another call replaces what is left of n; 0 ends it.
func (p *Proxy) CutAfterRequest(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cuts = n
}

// Delay holds everything back for d from when it arrives, in each direction,
// on present and new connections; a request and its reply then take 2d longer.
// It does not limit how much passes. Opening a connection is not delayed.
// What is under way already keeps its time. 0 ends the delay.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Heal ends all faults. Connections that may have lost something are closed,
// so that their clients open new ones; after Refuse the proxy listens again on
// the same port, and fails the test, by t.Errorf, if it cannot.
func (p *Proxy) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dropRequests, p.dropReplies, p.cuts, p.delay = false, false, 0, 0
	for l := range p.links {
		if l.dropReplies || l.doomed {
			p.endLocked(l)
		}
	}
	if p.listener != nil || p.closed {
		return
	}
	if err := p.listenLocked(); err != nil {
		p.t.Errorf("redistest: heal the proxy: %v", err)
	}
}

func (p *Proxy) listenLocked() error {
	listener, err := listen(p.addr)
	if err != nil {
		return err
	}
	p.listener = listener
	p.wg.Go(func() { p.accept(listener) })
	return nil
}

func (p *Proxy) accept(listener *net.TCPListener) {
	for {
		client, err := listener.Accept()
		if err != nil {
			// Closed; or out of file descriptors, where clients are refused
			// and the test fails for that.
			_ = listener.Close()
			return
		}
		p.admit(listener, client)
	}
}

// admit starts a link for a client, unless the listener it came through has
// been closed since.
func (p *Proxy) admit(listener *net.TCPListener, client net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != listener {
		_ = client.Close()
		return
	}
	l := &link{
		client:       client,
		ended:        make(chan struct{}),
		dropRequests: p.dropRequests,
		dropReplies:  p.dropReplies,
	}
	p.links[l] = struct{}{}
	p.wg.Go(func() { p.connect(l) })
}
