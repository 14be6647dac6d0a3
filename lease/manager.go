package lease

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/internal/transport"
	"github.com/eqworks/passbuddy/lease/scripts"
)

// Options are a manager's. The zero value works.
type Options struct {
	// Prefix starts every key: a semaphore's is <Prefix>-<Name>. "passbuddy" by default.
	Prefix string
	// Owner is a label by which people recognise this process in Redis. host/pid by default.
	Owner string
	// Clock is where the time comes from; for tests. The system's by default.
	Clock clock.Clock
	// Logger gets what no caller is told: each lost lease, and a failed give-back and trouble with Redis once per
	// cause, semaphore and minute, for the first ten semaphores of a cause. No context waits for it.
	// slog.Default() at Warn and above by default.
	Logger *slog.Logger
	// Tracers are told what happens, one after the other; see Tracer.
	Tracers []Tracer
}

// A Manager holds this process's side of all its semaphores on one Redis. It is made by New or Open and
// safe for concurrent use. It has no goroutine while nobody acquires, holds or releases.
type Manager struct {
	// immutable
	client     redis.UniversalClient
	owned      bool // Open made the client
	clock      clock.Clock
	base       time.Time // the zero of instant.mono
	prefix     string
	owner      string
	pace       float64
	mint       func(weight int, label string) string // newID, made once for all states
	log        *slog.Logger
	tracer     Tracer // nil: nobody listens
	notifier   notifier
	renewer    *renewer // calls drivers to work
	watchdog   *renewer // calls them where a trust window ends
	transport  *transport.Transport
	subscriber *transport.Subscriber // other processes' scripts publish grants to it
	ignored    atomic.Int64          // messages that made no sense
	ctx        context.Context       // ends with Close
	cancel     context.CancelCauseFunc

	mu       sync.Mutex
	drivers  map[string]*driver // by name
	handles  int64              // that were made
	draining bool               // Shutdown or Close was called
	drained  chan struct{}      // closed when draining and no driver is left
	closed   bool
	said     map[string]*said // what the log knows, by cause
}

// New makes a manager on a client of the caller's, which stays the caller's to close. It does no I/O.
// A client whose ContextTimeoutEnabled is off is used as it is: attempts are given up in time all the
// same, but each may occupy a connection and a goroutine for as long as the client's own timeouts last.
// A hook of the client, and a client that wraps another, may read a command only until they return: the arguments are used
// again.
func New(client redis.UniversalClient, opts Options) (*Manager, error) {
	if isNil(client) {
		return nil, &OptionError{"client", "nil", "pass a go-redis client, or use Open with a URL"}
	}
	if _, ok := client.(*redis.Ring); ok {
		return nil, &OptionError{"client", "*redis.Ring", "a Ring forgets what a shard held when it drops out; use a single server, Sentinel or Cluster"}
	}
	if opts.Prefix == "" {
		opts.Prefix = "passbuddy"
	}
	if problem := badInKey(opts.Prefix); problem != "" {
		return nil, &OptionError{"Options.Prefix", opts.Prefix, problem}
	}
	owner, err := ownerOf(opts.Owner)
	if err != nil {
		return nil, err
	}
	if i := slices.Index(opts.Tracers, nil); i >= 0 {
		return nil, &OptionError{fmt.Sprintf("Options.Tracers[%d]", i), "nil", "leave it out"}
	}
	if opts.Clock == nil {
		opts.Clock = clock.New()
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(warnAndAbove{slog.Default().Handler()})
	}
	m := &Manager{
		client:  client,
		clock:   opts.Clock,
		base:    opts.Clock.Now(),
		prefix:  opts.Prefix,
		owner:   owner,
		pace:    1 - rand.Float64()/10,
		log:     opts.Logger,
		tracer:  tracerOf(opts.Tracers),
		drivers: map[string]*driver{},
		drained: make(chan struct{}),
		said:    map[string]*said{},
	}
	m.mint = m.newID
	m.notifier.tracer = m.tracer
	m.ctx, m.cancel = context.WithCancelCause(context.Background())
	m.renewer = newRenewer(m, 50*time.Millisecond, func(d *driver) *place { return &d.work })
	m.watchdog = newRenewer(m, 0, func(d *driver) *place { return &d.end })
	m.transport = transport.New(m.ctx, client)
	m.subscriber = &transport.Subscriber{
		Client: client, Clock: m.clock, Channel: scripts.Channel + owner, Quiet: 10 * time.Second,
		Confirmed: m.subscribed, Received: m.received, Refused: m.notSubscribed,
	}
	return m, nil
}

// Client returns the client that the manager talks through.
func (m *Manager) Client() redis.UniversalClient { return m.client }

// now reads the clock. It is never zero, so that a zero instant can mean "never".
func (m *Manager) now() protocol.Instant {
	t := m.clock.Now()
	return protocol.Instant{Mono: t.Sub(m.base) + 1, Wall: time.Duration(t.UnixNano())}
}

// timeOf turns an instant into a time of the wall clock.
func (m *Manager) timeOf(i protocol.Instant) time.Time { return m.base.Add(i.Mono - 1) }

// settled reports whether nothing is due or under way, and when the next thing is due; zero: nothing is. Where Redis does
// not answer, what is under way does not count.
func (m *Manager) settled(answered bool) (next time.Time, settled bool) {
	for range 2 { // before and after the rest: what a timer has begun shows in one of them
		next = time.Time{}
		for _, r := range []*renewer{m.renewer, m.watchdog} {
			first, quiet := r.quiet()
			if !quiet {
				return next, false
			}
			if !first.IsZero() && (next.IsZero() || m.timeOf(first).Before(next)) {
				next = m.timeOf(first)
			}
		}
		if !m.quiet(answered) {
			return next, false
		}
	}
	return next, true
}

// quiet reports whether nothing is under way.
func (m *Manager) quiet(answered bool) bool {
	m.mu.Lock()
	drivers := slices.Collect(maps.Values(m.drivers))
	m.mu.Unlock()
	for _, d := range drivers {
		d.mu.Lock()
		busy := d.state.Batch != nil || d.state.AtTransport
		d.mu.Unlock()
		if busy && answered {
			return false
		}
	}
	return (!answered || m.transport.Quiet()) && m.notifier.quiet()
}

// driverOf returns the driver of a semaphore, locked, and makes it if there is none. alive says
// that it is for a lease that lives, which is served while the manager drains.
func (m *Manager) driverOf(s *Semaphore, alive bool) (*driver, error) {
	for {
		m.mu.Lock()
		if m.closed || m.draining && !alive {
			m.mu.Unlock()
			return nil, ErrClosed
		}
		d := m.drivers[s.cfg.Name]
		if d == nil {
			d = &driver{manager: m, name: s.cfg.Name, handle: s}
			d.keys.Store(s.keys)
			d.state = protocol.New(&s.state, m.pace, m.mint, rand.Float64)
			d.state.Watched = m.tracer != nil
			d.state.Born = m.now()
			d.server = m.transport.OnlyServer()
			d.state.Needed = d.server.Needed()
			m.drivers[d.name] = d
		}
		m.mu.Unlock()
		d.mu.Lock() // a state that has just become idle is on its way out: this waits for it
		m.mu.Lock()
		late := m.draining && !alive
		m.mu.Unlock()
		switch {
		case late && !d.dead:
			d.finish(m.now(), false)
			return nil, ErrClosed
		case d.dead:
			d.mu.Unlock()
		default:
			if s.number > d.handle.number {
				d.follow(s)
			}
			d.state.Require(&s.state)
			return d, nil
		}
	}
}

// retired takes d off the list; d.mu is held.
func (m *Manager) retired(d *driver) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.drivers[d.name] == d {
		delete(m.drivers, d.name)
	}
	m.drainedLocked()
}

func (m *Manager) all() []*driver {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*driver, 0, len(m.drivers))
	for _, d := range m.drivers {
		all = append(all, d)
	}
	return all
}

// subscribed tells all drivers that notifications arrive from now on.
func (m *Manager) subscribed() {
	for _, d := range m.all() {
		d.subscribed()
	}
}

func (m *Manager) notSubscribed(err error) {
	m.warn("", "subscribe", "lease: this Redis user may not SUBSCRIBE to "+scripts.Channel+"*: waiters learn of free permits by polling only", "error", err)
}

// received hands a message from the channel to the driver that it is for. Anybody may publish anything.
func (m *Manager) received(payload string) {
	n, ok := scripts.ParseNotification(payload)
	name, ours := strings.CutPrefix(n.Holders, m.prefix+"-")
	if !ok || !ours || !validWeight(n.ID) || len(n.Slots) > 0 && len(n.Slots) != weightOf(n.ID) || !strings.HasSuffix(strings.SplitN(n.ID, "#", 2)[0], "@"+m.owner) {
		m.ignored.Add(1)
		m.warn("", "garbage", "lease: a message in the channel makes no sense and is ignored; does somebody else publish there?", "channel", m.subscriber.Channel, "bytes", len(payload))
		return
	}
	verbs := [...]protocol.Notice{scripts.Granted: protocol.Granted, scripts.Refused: protocol.Refused, scripts.Withdrawn: protocol.Withdrawn}
	m.notified(name, protocol.Notification{Kind: verbs[n.Notice], Expiry: n.Expiry, Token: n.Token, Server: n.ServerTime, ID: n.ID, Weight: weightOf(n.ID), Slots: n.Slots})
}

// notified hands a notification to the driver of a semaphore. Where there is none, nobody waits any more, and what was
// waited for was given back.
func (m *Manager) notified(name string, n protocol.Notification) {
	m.mu.Lock()
	d := m.drivers[name]
	m.mu.Unlock()
	if d != nil {
		d.notified(n)
	}
}

// clockStepped tells the other semaphores of a server that its clock has stepped: each takes from its windows what the
// step may have taken, once, and renews at once.
func (m *Manager) clockStepped(by *driver, server *transport.Server, step protocol.Reading, forward time.Duration) {
	m.warn("", "clock", "lease: the server's clock jumped, or another server took over; renewing at once", "forward", forward)
	for _, d := range m.all() {
		if d != by {
			d.hear(server, step)
		}
	}
}

// serverMoved tells them that another server may answer from now on: each renews at once.
func (m *Manager) serverMoved(by *driver, server *transport.Server) {
	m.warn("", "clock", "lease: the server's clock jumped, or another server took over; renewing at once", "forward", time.Duration(0))
	for _, d := range m.all() {
		if d != by {
			d.hear(server, protocol.Reading{})
		}
	}
}

// isNil also finds a nil pointer in the interface.
func isNil(client redis.UniversalClient) bool {
	v := reflect.ValueOf(client)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}
