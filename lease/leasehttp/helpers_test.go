package leasehttp_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// A world is a bubble of virtual time with one Redis in it and the processes that use it.
type world struct {
	*testing.T
	net *sim.Network
	log *logBuffer
}

// A logBuffer keeps what was logged.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func TestMain(m *testing.M) {
	logging.Disable() // go-redis reports each refused connection
	os.Exit(m.Run())
}

// inAnHour runs test in virtual time. It fails the test when anything is left running, and when the test takes
// longer than an hour: renewals go on in virtual time, so that no deadlock is found.
func inAnHour(t *testing.T, test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, net: sim.NewNetwork(1), log: &logBuffer{}}
		w.Cleanup(func() { // after those of the processes
			w.net.Close()
			time.Sleep(10 * time.Second) // go-redis goes on dialling for a while when its client is closed
		})
		stuck := time.AfterFunc(time.Hour, func() { panic("the test hangs") })
		w.Cleanup(func() { stuck.Stop() })
		test(w)
	})
}

// process starts a process of the fleet. It is closed by the test's end.
func (w *world) process(name string) (*lease.Manager, *sim.Host) {
	w.Helper()
	host := w.net.Host(name)
	client := redis.NewClient(host.Options())
	m, err := lease.New(client, lease.Options{Owner: name, Logger: slog.New(slog.NewTextHandler(w.log, nil))})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { // still in the bubble
		_ = m.Close()
		_ = client.Close()
	})
	return m, host
}

const worldTTL = 6 * time.Second

func (w *world) semaphore(m *lease.Manager, capacity int, change ...func(*lease.Config)) *lease.Semaphore {
	w.Helper()
	cfg := lease.Config{Name: "gpu", Capacity: capacity, TTL: worldTTL}
	for _, f := range change {
		f(&cfg)
	}
	s, err := m.Semaphore(cfg)
	if err != nil {
		w.Fatal(err)
	}
	return s
}

func (w *world) acquire(s *lease.Semaphore) *lease.Lease {
	w.Helper()
	l, err := s.Acquire(context.Background())
	if err != nil {
		w.Fatal(err)
	}
	return l
}

func (w *world) use(p *lease.Permit) (done context.CancelFunc) {
	w.Helper()
	_, done, err := p.Use(context.Background())
	if err != nil {
		w.Fatal(err)
	}
	return done
}

// permits returns how many permits count in Redis, by the server's clock.
func (w *world) permits() (alive int) {
	w.net.Look(func(r *miniredis.Miniredis) {
		set, err := r.SortedSet("passbuddy-gpu")
		if err != nil { // there is no such key
			return
		}
		for _, score := range set {
			if time.UnixMilli(int64(score)).After(time.Now()) {
				alive++
			}
		}
	})
	return alive
}

// serve runs one request through h and returns the answer.
func serve(h http.Handler, ctx context.Context) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil))
	return rec
}
