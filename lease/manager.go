package lease

import (
	"context"
	crand "crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/protocol"
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
	// cause, semaphore and hour, for the first ten semaphores of a cause. No context waits for it.
	// slog.Default() at Warn and above by default.
	Logger *slog.Logger
	// Events are told what happens; see there.
	Events Events
	// Defaults are taken for what a Config leaves zero. Name and Capacity are not defaulted.
	Defaults Config
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
	defaults   Config
	pace       float64
	mint       func(weight int) string // newID, made once for all states
	log        *slog.Logger
	events     Events
	watched    bool // events has a function
	notifier   notifier
	renewer    *renewer // calls drivers to work
	watchdog   *renewer // calls them where a trust window ends
	transport  *transport
	subscriber *subscriber
	ctx        context.Context // ends with Close
	cancel     context.CancelCauseFunc

	mu       sync.Mutex
	drivers  map[string]*driver     // by name
	servers  map[string]*serverTime // by address; "" where there is only one
	draining bool                   // Shutdown or Close was called
	drained  chan struct{}          // closed when draining and no driver is left
	closed   bool
	said     map[string]*said // what the log knows, by cause
}

// New makes a manager on a client of the caller's, which stays the caller's to close. It does no I/O.
// A client whose ContextTimeoutEnabled is off is used as it is: attempts are given up in time all the
// same, but each may occupy a connection and a goroutine for as long as the client's own timeouts last.
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
	if strings.Contains(opts.Prefix, "}") {
		return nil, &OptionError{"Options.Prefix", opts.Prefix, "must not contain '}': the keys would not share a cluster slot"}
	}
	owner, err := ownerOf(opts.Owner)
	if err != nil {
		return nil, err
	}
	if opts.Defaults.Name != "" || opts.Defaults.Capacity != 0 {
		return nil, &OptionError{"Options.Defaults", fmt.Sprintf("{Name: %q, Capacity: %d}", opts.Defaults.Name, opts.Defaults.Capacity),
			"Name and Capacity belong to each semaphore: leave them out"}
	}
	if opts.Clock == nil {
		opts.Clock = clock.New()
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(warnAndAbove{slog.Default().Handler()})
	}
	m := &Manager{
		client:   client,
		clock:    opts.Clock,
		base:     opts.Clock.Now(),
		prefix:   opts.Prefix,
		owner:    owner,
		defaults: opts.Defaults,
		pace:     1 - rand.Float64()/10,
		log:      opts.Logger,
		events:   opts.Events,
		watched:  opts.Events.any(),
		drivers:  map[string]*driver{},
		servers:  map[string]*serverTime{},
		drained:  make(chan struct{}),
		said:     map[string]*said{},
	}
	probe := opts.Defaults
	probe.Name, probe.Capacity = "probe", 1
	if _, err := probe.complete(Config{}); err != nil {
		if o, ok := err.(*OptionError); ok {
			o.Option = strings.Replace(o.Option, "Config.", "Options.Defaults.", 1)
		}
		return nil, err
	}
	m.mint = m.newID
	m.notifier = notifier{events: &m.events}
	m.ctx, m.cancel = context.WithCancelCause(context.Background())
	m.renewer = newRenewer(m, 50*time.Millisecond, func(c *driver) *appointment { return &c.work })
	m.watchdog = newRenewer(m, 0, func(c *driver) *appointment { return &c.end })
	m.transport = &transport{client: client, server: m.serverAt, ctx: m.ctx, bounded: isBounded(client)}
	m.transport.cluster, _ = client.(*redis.ClusterClient)
	m.subscriber = &subscriber{manager: m, channel: scripts.Channel + owner, quiet: 10 * time.Second}
	return m, nil
}

// ownerOf returns the owner that stands in every id: a label, and a number of this manager's own.
func ownerOf(label string) (string, error) {
	if label == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown"
		}
		label = sanitize(host) + "/" + strconv.Itoa(os.Getpid())
	}
	if bad := strings.IndexFunc(label, func(r rune) bool { return !labelRune(r) }); bad >= 0 || len(label) > 128 {
		return "", &OptionError{"Options.Owner", label, "use up to 128 printable ASCII characters without spaces, '@', '~', '#', ','"}
	}
	id := uuid.New()
	return fmt.Sprintf("%s~%x", label, id[:4]), nil
}

func labelRune(r rune) bool { return r > ' ' && r < 0x7f && !strings.ContainsRune("@~#,", r) }

func sanitize(host string) string {
	return strings.Map(func(r rune) rune {
		if labelRune(r) {
			return r
		}
		return '-'
	}, host)
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

func (m *Manager) serverAt(addr string) *serverTime {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.servers[addr]
	if s == nil {
		s = &serverTime{}
		m.servers[addr] = s
	}
	return s
}

// driverOf returns the driver of a semaphore, locked, and makes it if there is none. alive says
// that it is for a lease that lives, which is served while the manager drains.
func (m *Manager) driverOf(s *Semaphore, alive bool) (*driver, error) {
	cfg := &s.cfg
	for {
		m.mu.Lock()
		if m.closed || m.draining && !alive {
			m.mu.Unlock()
			return nil, ErrClosed
		}
		c := m.drivers[cfg.Name]
		if c == nil {
			c = &driver{manager: m, cfg: cfg, keys: s.keys}
			c.state = protocol.New(&s.state, m.pace, m.mint, rand.Float64)
			c.state.Watched = m.watched
			c.state.Born = m.now()
			if m.transport.cluster == nil {
				c.server = m.theServer()
			}
			m.drivers[cfg.Name] = c
		}
		m.mu.Unlock()
		c.mu.Lock() // a state that has just become idle is on its way out: this waits for it
		m.mu.Lock()
		late := m.draining && !alive
		m.mu.Unlock()
		switch {
		case late && !c.dead:
			c.unlock(m.now(), false)
			return nil, ErrClosed
		case c.dead:
			c.mu.Unlock()
		case c.cfg != cfg && *c.cfg != *cfg:
			if c.state.Idle() {
				c.retire()
				c.mu.Unlock()
				continue
			}
			c.mu.Unlock()
			return nil, differ(c.cfg, cfg)
		default:
			return c, nil
		}
	}
}

// living returns the Config under which this process uses a name, nil if it does not.
func (m *Manager) living(name string) *Config {
	m.mu.Lock()
	c := m.drivers[name]
	m.mu.Unlock()
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead || c.state.Idle() {
		return nil
	}
	return c.cfg
}

// theServer is the clock of the only server, with m.mu held.
func (m *Manager) theServer() *serverTime {
	s := m.servers[""]
	if s == nil {
		s = &serverTime{}
		m.servers[""] = s
	}
	return s
}

// newID returns <uuid>@<owner>, and #<weight> when that is not 1. The UUID begins with the time, by this
// process's clock (RFC 9562, version 7), for people who look at holders and waiters.
func (m *Manager) newID(weight int) string {
	var u uuid.UUID
	_, _ = crand.Read(u[:]) // never fails
	ms := uint64(m.clock.Now().UnixMilli())
	u[0], u[1], u[2], u[3], u[4], u[5] = byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms)
	u[6] = 0x70 | u[6]&0x0f
	u[8] = 0x80 | u[8]&0x3f
	var buf [128]byte
	id := append(hex.AppendEncode(buf[:0], u[:4]), '-')
	id = append(hex.AppendEncode(id, u[4:6]), '-')
	id = append(hex.AppendEncode(id, u[6:8]), '-')
	id = append(hex.AppendEncode(id, u[8:10]), '-')
	id = append(hex.AppendEncode(id, u[10:]), '@')
	id = append(id, m.owner...)
	if weight != 1 {
		id = strconv.AppendInt(append(id, '#'), int64(weight), 10)
	}
	return string(id)
}

// validWeight reports whether the weight in an id is one that newID writes.
func validWeight(id string) bool {
	_, weight, found := strings.Cut(id, "#")
	n, err := strconv.Atoi(weight)
	return !found || err == nil && n > 1 && n <= maxWeight && strconv.Itoa(n) == weight
}

// weightOf reads the weight in an id.
func weightOf(id string) int {
	if _, weight, found := strings.Cut(id, "#"); found {
		if n, err := strconv.Atoi(weight); err == nil && n > 0 {
			return n
		}
	}
	return 1
}

// retired takes c off the list; c.mu is held.
func (m *Manager) retired(c *driver) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.drivers[c.cfg.Name] == c {
		delete(m.drivers, c.cfg.Name)
	}
	m.drainedLocked()
}

func (m *Manager) drainedLocked() {
	if m.draining && len(m.drivers) == 0 {
		select {
		case <-m.drained:
		default:
			close(m.drained)
		}
	}
}

func (m *Manager) isDraining() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.draining
}

func (m *Manager) all() []*driver {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*driver, 0, len(m.drivers))
	for _, c := range m.drivers {
		all = append(all, c)
	}
	return all
}

// clockStepped tells the other semaphores of a server that its clock has stepped: each takes from its windows what the
// step may have taken, once, and renews at once.
func (m *Manager) clockStepped(by *driver, server *serverTime, step protocol.Reading, forward time.Duration) {
	m.warn("", "clock", "lease: the server's clock jumped, or another server took over; renewing at once", "forward", forward)
	for _, c := range m.all() {
		if c != by {
			c.hear(server, step)
		}
	}
}

// serverMoved tells them that another server may answer from now on: each renews at once.
func (m *Manager) serverMoved(by *driver, server *serverTime) {
	m.warn("", "clock", "lease: the server's clock jumped, or another server took over; renewing at once", "forward", time.Duration(0))
	for _, c := range m.all() {
		if c != by {
			c.hear(server, protocol.Reading{})
		}
	}
}

// Shutdown drains the manager: new acquires are refused and waiters fail with ErrClosed; leases go on
// and are renewed until their holders release them. It returns nil when the last one is given back, and
// then the manager is closed. When ctx ends first it returns the context's cause and says how many
// semaphores are still in use; the manager goes on draining, and Close ends it.
func (m *Manager) Shutdown(ctx context.Context) error {
	m.drain()
	closed := make(chan error, 1)
	go func() {
		select {
		case <-m.drained:
			closed <- m.Close() // a call under way may take the client's time
		case <-ctx.Done():
		}
	}()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return fmt.Errorf("lease: shutdown with %d semaphores still in use: %w", len(m.all()), context.Cause(ctx))
	}
}

// drain refuses new acquires and ends all waits.
func (m *Manager) drain() {
	m.mu.Lock()
	m.draining = true
	m.drainedLocked()
	m.mu.Unlock()
	for _, c := range m.all() {
		c.mu.Lock()
		if c.dead {
			c.mu.Unlock()
			continue
		}
		now := m.now()
		c.state.Fail(now, protocol.ReasonClosed)
		c.unlock(now, false)
	}
}

// Close ends every lease's contexts with ErrClosed, stops renewing, and waits for the manager's own goroutines,
// all but those that call Events and the Logger: these may call Close, and end when they have told what has
// happened. Permits whose holders have not released them are not given back: their work may still be
// going on, and time takes them. Close also closes the client, if Open made it. Calling it again does
// nothing.
func (m *Manager) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed = true
	m.mu.Unlock()
	m.drain()
	m.renewer.stop()
	m.watchdog.stop()
	m.subscriber.stop()
	m.transport.close()
	for _, c := range m.all() {
		c.close()
	}
	m.cancel(ErrClosed)
	var err error
	if m.owned {
		err = m.client.Close()
	}
	m.transport.wait()
	return err
}

// isNil also finds a nil pointer in the interface.
func isNil(client redis.UniversalClient) bool {
	v := reflect.ValueOf(client)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}
