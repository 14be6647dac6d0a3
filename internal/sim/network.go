package sim

import (
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// errNetworkClosed is what dialling a closed Network gives.
var errNetworkClosed = errors.New("sim: network is closed")

// Network is one miniredis and all connections to it, inside one
// testing/synctest bubble: no socket, no real time, every fault drawn from the
// seed. Make it, use it and Close it in the bubble.
//
// A request goes through three stages: it travels (Latency, and whatever its
// [Faults] do to it), the server executes it (one at a time, in order of
// arrival, not while stalled), and its reply travels back. Each connection has
// one goroutine, the server's end of it; the client's end is a [net.Conn] whose
// deadlines are virtual time. Like a kernel's socket, a connection takes any
// amount of data at once, and what was written before it was closed still
// arrives.
//
// Faults come from one source of randomness per connection, seeded by the
// seed, the host's name and the number of the host's connection, so what
// happens on one connection does not depend on what others do. The rest is up
// to the order in which goroutines run at one instant of virtual time.
//
// Keys do not expire as time goes by: miniredis moves lifetimes only in
// FastForward, or after Server().ClockTTL(true), which costs a pass over all
// keys at each new instant. Commands that block (BLPOP, XREAD BLOCK, …) are
// refused, because the server executes one request at a time.
//
// All methods are safe for concurrent use by the goroutines of the bubble.
type Network struct {
	// Immutable after construction.
	seed  uint64
	redis *miniredis.Miniredis
	srv   *server.Server
	done  chan struct{} // closed by Close
	wg    sync.WaitGroup

	messageFaults atomic.Pointer[messageFaults]
	epoch         atomic.Int64 // how often the data were lost, or the clock set

	// mu guards who is connected. It is taken before a connection's mu.
	mu     sync.Mutex
	hosts  map[string]*Host
	faults Faults // of hosts that are not there yet
	closed bool

	// exec is the server's one thread. It is taken before mu.
	exec                    sync.Mutex
	resumed                 sync.Cond // of exec: the server runs again, or everything ends
	stalled                 bool
	ended                   bool
	offset                  time.Duration
	expiring                time.Duration    // keys expire this often; 0: never by themselves
	expired                 time.Time        // by the server's clock: when they did last
	now                     func() time.Time // the system's clock, unless SetClock
	errorReply              string           // instead of executing, unless empty
	moving                  bool             // a slot moves: what names several keys is refused
	short                   bool             // the arrays that scripts answer are cut
	replicas, acknowledging int              // how many there are, and how many of them have what is written
	busy                    bool             // a script runs that takes its time
	slowness                time.Duration    // for each argument of the commands that a script calls
	scripts                 *interpreter
	onCommand               []func(host string, now time.Time, cmd []string)
	onPublish               []func(channel, message string)
	calling                 *Host // whose request is being executed
	dispatched              int   // commands that it ran so far, itself and those of its script
}

// NewNetwork makes an empty server that everybody can reach, at once and
// without faults.
func NewNetwork(seed uint64) *Network {
	redis := miniredis.NewMiniRedis()
	// The only way to start miniredis without a listener.
	first, err := redis.Dial()
	if err != nil {
		panic("sim: miniredis does not start: " + err.Error())
	}
	_ = first.Close() // a pipe: nothing can be lost
	redis.Seed(int(seed))

	n := &Network{
		seed:  seed,
		redis: redis,
		srv:   redis.Server(),
		now:   time.Now,
		done:  make(chan struct{}),
		hosts: map[string]*Host{},
	}
	n.resumed.L = &n.exec
	n.messageFaults.Store(&messageFaults{})
	n.srv.SetPreHook(n.before)
	n.scripts = newInterpreter(n.srv.Dispatch)
	return n
}

// Server is the miniredis behind the network, for looking at its data and for
// ClockTTL and FastForward. Its clock and its errors belong to the network: use
// [Network.SetClockOffset] and [Network.SetError], not its SetTime and SetError.
func (n *Network) Server() *miniredis.Miniredis { return n.redis }

// Host is the process of that name; the first call makes it.
func (n *Network) Host(name string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[name]
	if h == nil {
		h = &Host{network: n, name: name, conns: map[*conn]struct{}{}, changed: make(chan struct{})}
		f := n.faults
		h.faults.Store(&f)
		n.hosts[name] = h
	}
	return h
}

// SetFaults gives these faults to every host, present and future, in place of
// what it had. They hold for requests that are written from now on. It panics
// when a probability or a duration is out of range.
func (n *Network) SetFaults(f Faults) {
	f.check()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
	for _, h := range n.hosts {
		h.faults.Store(&f)
	}
}

// Close ends everything: connections on both sides, requests under way,
// the server. It returns when no goroutine of the network is left; then the
// bubble can end. Calling it again does nothing.
func (n *Network) Close() {
	n.exec.Lock()
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		n.exec.Unlock()
		return
	}
	n.closed = true
	n.ended = true
	close(n.done)
	for _, h := range n.hosts {
		for c := range h.conns {
			c.reset()
		}
	}
	n.resumed.Broadcast()
	n.mu.Unlock()
	n.exec.Unlock()

	n.wg.Wait()
	n.redis.Close()
}

// rand is the source of randomness for one purpose, independent of all others.
func (n *Network) rand(purpose string) *rand.Rand {
	// FNV-1a, written out because hash/maphash differs from run to run.
	h := uint64(14695981039346656037)
	for i := range len(purpose) {
		h = (h ^ uint64(purpose[i])) * 1099511628211
	}
	return rand.New(rand.NewPCG(n.seed, h))
}

// sleep waits for d and reports whether the network is still open.
func (n *Network) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-n.done:
		return false
	}
}
