package lease

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/protocol"
)

const (
	testTTL = 12 * time.Second
	step    = 500 * time.Millisecond // of a server's clock
)

// quietManager makes a manager that sends nothing.
func quietManager(t *testing.T) *Manager {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:0"})
	m, err := New(client, Options{Owner: "me", Clock: clock.NewMock(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	m.transport.Close()
	t.Cleanup(func() {
		_ = m.Close()
		_ = client.Close()
	})
	return m
}

// shared is a driver with a lease, whose manager sends nothing by itself.
func shared(t *testing.T, m *Manager, name string) (*driver, *protocol.Grant) {
	t.Helper()
	s, err := m.Semaphore(Config{Name: name, Capacity: 1, TTL: testTTL})
	if err != nil {
		t.Fatal(err)
	}
	d, err := m.driverOf(s, false)
	if err != nil {
		t.Fatal(err)
	}
	defer d.mu.Unlock()
	g := &protocol.Grant{ID: idOf(1, 1), Weight: 1}
	h := &hold{semaphore: s, driver: d, Holding: protocol.Holding{Grant: g}}
	h.Holder = h
	g.Holding = &h.Holding
	d.state.Keep(m.now().Add(d.state.Window), g)
	return d, g
}

// idOf is the n-th id of this process.
func idOf(n, weight int) string {
	id := fmt.Sprintf("%036d@me~1", n)
	if weight > 1 {
		id += fmt.Sprintf("#%d", weight)
	}
	return id
}

// serverAt is the server's clock, in µs: the test's, a year ahead.
func serverAt(now protocol.Instant) int64 {
	return int64((now.Mono - 1 + 365*24*time.Hour) / time.Microsecond)
}

// expiryAt is the expiry, in ms, that a script gives when it runs at now.
func expiryAt(now protocol.Instant) int64 { return (serverAt(now)+999)/1000 + testTTL.Milliseconds() }

// refuse has the server refuse all requests of batch at ran.
func refuse(batch *protocol.Batch, ran protocol.Instant) {
	for i := range batch.Calls {
		c := &batch.Calls[i]
		c.Server, c.Answers = serverAt(ran), make([]protocol.Answer, len(c.Grants))
		c.Occupancy = &protocol.Occupancy{Capacity: 1}
	}
}

type redisError string

func (e redisError) Error() string { return string(e) }

func (e redisError) RedisError() {}

var _ redis.Error = redisError("")
