package sim

import (
	"bytes"
	"context"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Host is one process of the fleet, as the network sees it.
type Host struct {
	// Immutable after construction.
	network *Network
	name    string

	faults atomic.Pointer[Faults]
	denied atomic.Pointer[[]string] // commands
	heard  sync.Map                 // by key, or "" for any: heard

	swallowed atomic.Int64 // when a dead connection swallowed a request last, in ns of the Unix time

	// Guarded by network.mu.
	conns   map[*conn]struct{}
	dialled int // connections so far, for their numbers
	reach   reach
	changed chan struct{} // closed and replaced when reach changes
}

// heard is since when a host knows of an epoch of the server, by a reply.
type heard struct {
	epoch int64
	at    time.Time
}

func (h *Host) hear(all []news) {
	for _, x := range all {
		for _, key := range []string{"", x.key} {
			if last, ok := h.heard.Load(key); !ok || last.(heard).epoch < x.epoch {
				h.heard.Store(key, heard{x.epoch, time.Now()})
			}
		}
	}
}

// newsIn is what a reply tells: nothing, unless it begins with the server's time in µs and is whole. What
// an operator's call is answered is told to no semaphore; a renewal of many is answered to each.
func (n *Network) newsIn(reply []byte, cmd []string) []news {
	_, first, _ := bytes.Cut(reply, []byte("\r\n:"))
	digits, _, _ := bytes.Cut(first, []byte("\r\n"))
	if len(digits) < 15 || reply[0] != '*' || n.short || n.scripts.isForPeople(cmd) {
		return nil
	}
	epoch := n.epoch.Load()
	if len(cmd) <= 3 {
		return []news{{"", epoch}}
	}
	all := []news{{cmd[3], epoch}}
	keys, _ := strconv.Atoi(cmd[2])
	for _, key := range cmd[4:min(3+keys, len(cmd))] {
		if !strings.HasPrefix(key, "{") { // else it is another key of the same semaphore
			all = append(all, news{key, epoch})
		}
	}
	return all
}

// Knows reports whether the host has read a reply before now, and the rest of its pipeline, that told it the server's time
// since its data were lost or its clock was set for the last time.
func (h *Host) Knows(now time.Time) bool { return h.KnowsBy("", now) }

// KnowsBy reports whether it has read such a reply to a script about key.
func (h *Host) KnowsBy(key string, now time.Time) bool {
	epoch := h.network.epoch.Load()
	last, ok := h.heard.Load(key)
	return epoch == 0 || ok && last.(heard).epoch == epoch && last.(heard).at.Before(now)
}

// SwallowedSince reports whether a dead connection has swallowed a request of the host since at. A client keeps a
// connection in its pool that a partition has made a black hole, and finds out when it uses it, perhaps much later.
func (h *Host) SwallowedSince(at time.Time) bool { return h.swallowed.Load() >= at.UnixNano() }

// reach says what becomes of a host's new connections.
type reach int

const (
	reachable reach = iota
	partitioned
	refused
	killed
)

// Name is the name that [Network.Host] was called with.
func (h *Host) Name() string { return h.name }

// SetFaults gives this host faults of its own, until the next call of this or
// of [Network.SetFaults]. It panics when a probability or a duration is out of
// range.
func (h *Host) SetFaults(f Faults) {
	f.check()
	h.faults.Store(&f)
}

// Options are go-redis's defaults for a client of this host, with three changes
// that a bubble needs. The address is an IP, because go-redis looks a host name
// up in the real DNS. Maintenance notifications are off, because their handshake
// holds a mutex while it reads, and virtual time stands still while another
// goroutine waits for a mutex. The pool has room for all: who waits for a connection
// does so by timers that go-redis shares among all clients of a program, and a bubble
// may use no timer of another.
func (h *Host) Options() *redis.Options {
	return &redis.Options{
		Addr:             "192.0.2.1:6379", // a documentation address (RFC 5737)
		Dialer:           h.Dial,
		PoolSize:         10_000,
		PipelinePoolSize: 10_000,
		MaintNotificationsConfig: &maintnotifications.Config{
			Mode: maintnotifications.ModeDisabled,
		},
	}
}

// Deny has the server refuse these commands to the host, in scripts too, as it does to a user who may not
// run them. The next call takes the place of this.
func (h *Host) Deny(commands ...string) { h.denied.Store(&commands) }

// DenyToo has the server refuse another command, and returns what it refused before, for Deny.
func (h *Host) DenyToo(command string) (before []string) {
	if denied := h.denied.Load(); denied != nil {
		before = *denied
	}
	h.Deny(append(slices.Clone(before), command)...)
	return before
}

func (h *Host) mayRun(command string) bool {
	denied := h.denied.Load()
	return denied == nil || !slices.Contains(*denied, command)
}

// Dial connects to the server, whatever the address; it fits
// redis.Options.Dialer (see [Host.Options]). It takes one round trip, and hangs during a partition
// until ctx ends or the partition does. A stalled server still accepts.
func (h *Host) Dial(ctx context.Context, _, _ string) (net.Conn, error) {
	c, err := h.dial(ctx)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: "sim", Addr: addr("redis"), Err: err}
	}
	return c, nil
}

func (h *Host) dial(ctx context.Context) (*conn, error) {
	n := h.network
	f := h.faults.Load()
	roundTrip := 2 * f.Latency // no jitter: it would take a draw from no connection's source
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n.mu.Lock()
		reach, changed := h.reach, h.changed
		switch {
		case n.closed:
			n.mu.Unlock()
			return nil, errNetworkClosed
		case reach == refused || reach == killed:
			n.mu.Unlock()
			return nil, syscall.ECONNREFUSED
		case reach == reachable && roundTrip == 0:
			c := newConn(h)
			n.mu.Unlock()
			return c, nil
		}
		n.mu.Unlock()

		var arrived <-chan time.Time // never, while partitioned
		if reach == reachable {
			t := time.NewTimer(roundTrip)
			defer t.Stop()
			arrived = t.C
		}
		select {
		case <-arrived:
			roundTrip = 0
		case <-changed:
		case <-n.done:
		case <-ctx.Done():
		}
	}
}

// Partition cuts the host off: existing connections become black holes both
// ways, for good, and new ones hang. Requests that are under way still arrive;
// their replies do not. [Host.Heal] ends it.
func (h *Host) Partition() { h.change(partitioned, (*conn).blackHole) }

// Refuse resets the host's connections and refuses new ones at once, as when
// nothing listens at the server's address. [Host.Heal] ends it.
func (h *Host) Refuse() { h.change(refused, (*conn).reset) }

// Kill is the end of the host's process: its connections close, and it never
// dials again. What it wrote before still arrives, and so do its duplicates.
func (h *Host) Kill() { h.change(killed, func(c *conn) { _ = c.Close() }) }

// Heal lets new connections work again after [Host.Partition] or
// [Host.Refuse]; those that hang go on. Old connections stay dead.
func (h *Host) Heal() { h.change(reachable, func(*conn) {}) }

// Disconnect closes the host's connections at its own end, those too that a partition has made black holes: what waits for
// an answer fails at once.
func (h *Host) Disconnect() {
	n := h.network
	n.mu.Lock()
	defer n.mu.Unlock()
	for c := range h.conns {
		_ = c.Close()
	}
}

func (h *Host) change(to reach, each func(*conn)) {
	n := h.network
	n.mu.Lock()
	defer n.mu.Unlock()
	if h.reach == killed || n.closed {
		return
	}
	h.reach = to
	close(h.changed)
	h.changed = make(chan struct{})
	for c := range h.conns {
		each(c)
	}
}

// addr is an address on the simulated network.
type addr string

func (addr) Network() string  { return "sim" }
func (a addr) String() string { return string(a) }
