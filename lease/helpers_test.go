package lease_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
)

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

type writer func([]byte)

func (w writer) Write(p []byte) (int, error) { w(p); return len(p), nil }

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

type anyKey struct{}

func unconnected(t *testing.T) *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1"})
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func mustRefuse(t *testing.T, err error, option, value string) {
	t.Helper()
	var o *lease.OptionError
	if !errors.As(err, &o) || !errors.Is(err, lease.ErrOption) {
		t.Fatalf("error %v, want an *OptionError", err)
	}
	if o.Option != option || !strings.Contains(err.Error(), value) {
		t.Errorf("error %q does not name %s and %s", err, option, value)
	}
}

// goroutines is how many there are in the caller's bubble. runtime.NumGoroutine counts those of the whole
// process, and what earlier tests left behind may end at any time.
func goroutines(t testing.TB) int {
	t.Helper()
	mine := make([]byte, 200)
	mine = mine[:runtime.Stack(mine, false)]
	bubble := regexp.MustCompile(`synctest bubble \d+`).Find(mine)
	if bubble == nil {
		t.Fatalf("not in a bubble: %s", mine)
	}
	all := make([]byte, 8<<20)
	n := runtime.Stack(all, true)
	if n == len(all) {
		t.Fatalf("the stacks of %d goroutines take more than %d bytes", runtime.NumGoroutine(), n)
	}
	return len(regexp.MustCompile(`(?m)^goroutine .*`+string(bubble)+`[,\]]`).FindAll(all[:n], -1))
}
