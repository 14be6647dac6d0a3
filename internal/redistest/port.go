package redistest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Ports come from below the range that Linux (32768) and most others (49152)
// give to outgoing connections. Listening on port 0 would be simpler, but
// answers with a port from that range: while a killed server or a refusing
// proxy leaves it alone, any client on the machine may be given it, and
// nothing could listen there again.
const (
	firstPort = 10000
	endOfPort = 32768
)

// portsGiven holds the ports in use by this test binary, including those of
// servers that are down for now.
var portsGiven = struct {
	sync.Mutex
	set map[int]bool
}{set: make(map[int]bool)}

var errNoPort = errors.New("no free loopback port found")

// freePort returns a port on which nothing listened a moment ago. It is kept
// from other tests in this binary until t ends. Another process may still take
// it first: whoever listens on it must be ready to ask for another.
func freePort(t testing.TB) (int, error) {
	for range 100 {
		port := firstPort + rand.IntN(endOfPort-firstPort)
		if !reservePort(port) {
			continue
		}
		l, err := listen(loopback(port))
		if err != nil {
			releasePort(port)
			continue
		}
		if err := stopListening(l); err != nil {
			releasePort(port)
			return 0, err
		}
		t.Cleanup(func() { releasePort(port) })
		return port, nil
	}
	return 0, errNoPort
}

func reservePort(port int) bool {
	portsGiven.Lock()
	defer portsGiven.Unlock()
	if portsGiven.set[port] {
		return false
	}
	portsGiven.set[port] = true
	return true
}

func releasePort(port int) {
	portsGiven.Lock()
	defer portsGiven.Unlock()
	delete(portsGiven.set, port)
}

func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// listen is net.Listen with the type that [stopListening] needs.
func listen(addr string) (*net.TCPListener, error) {
	tcp, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, err
	}
	return net.ListenTCP("tcp", tcp)
}
