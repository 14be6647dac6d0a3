package leaseweb

import (
	"bufio"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

func TestMain(m *testing.M) {
	logging.Disable()
	flag.Parse()
	os.Exit(m.Run())
}

// manager is one process of a fleet.
func manager(t testing.TB, server *redistest.Server, owner string) *lease.Manager {
	t.Helper()
	m, err := lease.Open("redis://"+server.Addr(), lease.Options{Owner: owner, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func semaphore(t testing.TB, m *lease.Manager, cfg lease.Config) *lease.Semaphore {
	t.Helper()
	s, err := m.Semaphore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func hold(t testing.TB, s *lease.Semaphore, opts ...lease.AcquireOption) *lease.Lease {
	t.Helper()
	l, err := s.Acquire(t.Context(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Release() })
	return l
}

// queue has a caller wait until the test ends, and returns when it has its place.
func queue(t testing.TB, s *lease.Semaphore, opts ...lease.AcquireOption) {
	t.Helper()
	places := func(ctx context.Context) int {
		state, err := s.Inspect(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return len(state.Waiters)
	}
	before := places(t.Context())
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if l, err := s.Acquire(ctx, opts...); err == nil {
			_ = l.Release()
		}
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	redistest.Eventually(t, "a caller stands in the queue", func(ctx context.Context) error {
		if places(ctx) <= before {
			return io.ErrNoProgress
		}
		return nil
	})
}

// A site is a page that is served.
type site struct {
	*Handler
	*httptest.Server
}

func serve(t testing.TB, m *lease.Manager, opts Options) *site {
	t.Helper()
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	h, err := New(m, opts)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{h, httptest.NewServer(h)}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := h.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		s.Server.Close()
	})
	return s
}

// answer is what a request got.
type answer struct {
	*http.Response
	text string
}

// ask sends a request without following redirects. change may alter it.
func (s *site) ask(t testing.TB, method, path, form string, change ...func(*http.Request)) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+path, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	if form != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range change {
		c(r)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, string(b)}
}

func (a answer) must(t testing.TB, status int, contains string) answer {
	t.Helper()
	if a.StatusCode != status || !strings.Contains(a.text, contains) {
		t.Errorf("%s %s: %d, want %d and %q:\n%.800s", a.Request.Method, a.Request.URL, a.StatusCode, status, contains, a.text)
	}
	return a
}

// from sets a header.
func from(header, value string) func(*http.Request) {
	return func(r *http.Request) {
		if header == "Host" {
			r.Host = value
			return
		}
		r.Header.Set(header, value)
	}
}

// A stream is one viewer. Its snapshots are HTML; the channel is closed when the server ends it.
type stream struct {
	snapshots chan string
	leave     context.CancelFunc
}

func (s *site) watch(t testing.TB, query string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/events"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{} // its own: tests have more viewers than a client has connections
	resp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%v %v", resp.Status, resp.Header)
	}
	v := &stream{snapshots: make(chan string, 1000), leave: cancel}
	go func() {
		defer close(v.snapshots)
		lines := bufio.NewReader(resp.Body)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			if data, is := strings.CutPrefix(line, "data: "); is {
				var one struct{ HTML string }
				if json.Unmarshal([]byte(data), &one) == nil {
					v.snapshots <- one.HTML
				}
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		for range v.snapshots { // until it has ended
		}
		_ = resp.Body.Close()
		transport.CloseIdleConnections()
	})
	return v
}

// next is a snapshot that contains all of the texts, within ten seconds.
func (v *stream) next(t testing.TB, contain ...string) string {
	t.Helper()
	return v.nextThat(t, fmt.Sprintf("has %q", contain), func(html string) bool {
		return !slices.ContainsFunc(contain, func(text string) bool { return !strings.Contains(html, text) })
	})
}

// nextThat is a snapshot that fits, within ten seconds.
func (v *stream) nextThat(t testing.TB, what string, fits func(html string) bool) string {
	t.Helper()
	limit := time.After(10 * time.Second)
	last := ""
	for {
		select {
		case html, ok := <-v.snapshots:
			if !ok {
				t.Fatalf("the stream has ended; its last snapshot:\n%s", last)
			}
			last = html
			if fits(html) {
				return html
			}
		case <-limit:
			t.Fatalf("no snapshot %s; the last is\n%s", what, last)
		}
	}
}

// commands is how many commands the server has carried out, but for INFO and those that begin a connection.
func commands(t testing.TB, client *redis.Client) int {
	t.Helper()
	text, err := client.Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0
	for line := range strings.Lines(text) {
		name, rest, found := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		calls, _, _ := strings.Cut(rest, ",")
		switch n, err := strconv.Atoi(calls); {
		case !found || name == "info" || name == "hello" || strings.HasPrefix(name, "client"):
		case err != nil:
			t.Fatalf("%q: %v", line, err)
		default:
			sum += n
		}
	}
	return sum
}
