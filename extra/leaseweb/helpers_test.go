package leaseweb

import (
	"context"
	"flag"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

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
