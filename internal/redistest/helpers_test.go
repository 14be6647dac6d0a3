package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func mustSet(t testing.TB, client redis.Cmdable, key, value string) {
	t.Helper()
	if err := client.Set(t.Context(), key, value, 0).Err(); err != nil {
		t.Fatal(err)
	}
}

// conn is a connection that speaks Redis's inline protocol, with nothing
// between the test and the socket that retries or reconnects.
type conn struct {
	net.Conn
	t   testing.TB
	buf *bufio.Reader
}

// silence is how long mustStaySilent listens. A longer time would find more
// bugs, never fewer: it cannot make a correct proxy fail.
const silence = 50 * time.Millisecond

func dial(t testing.TB, addr string) *conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &conn{Conn: c, t: t, buf: bufio.NewReader(c)}
}

func (c *conn) send(command string) {
	c.t.Helper()
	if _, err := io.WriteString(c, command+"\r\n"); err != nil {
		c.t.Fatalf("%s: %v", command, err)
	}
}

func (c *conn) readLine(wait time.Duration) (string, error) {
	c.t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		c.t.Fatal(err)
	}
	line, err := c.buf.ReadString('\n')
	return strings.TrimSpace(line), err
}

func (c *conn) mustRead(want string) {
	c.t.Helper()
	if got, err := c.readLine(pollLimit); err != nil || got != want {
		c.t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

func (c *conn) mustAnswer(command, want string) {
	c.t.Helper()
	c.send(command)
	c.mustRead(want)
}

func (c *conn) mustStaySilent() {
	c.t.Helper()
	if got, err := c.readLine(silence); !errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("read %q, %v; want silence", got, err)
	}
}

// mustEnd waits until the other side has closed the connection.
func (c *conn) mustEnd() {
	c.t.Helper()
	if got, err := c.readLine(pollLimit); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("read %q, %v; want the connection closed", got, err)
	}
}

// fakeTB keeps a test's verdict instead of passing it on.
type fakeTB struct {
	testing.TB
	skipped, fatal, errored string
}

// runFake calls f with a fakeTB and returns it when f has ended.
func runFake(t testing.TB, f func(testing.TB)) *fakeTB {
	fake := &fakeTB{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(fake)
	}()
	<-done
	return fake
}

func (f *fakeTB) Skip(args ...any) {
	f.skipped = fmt.Sprint(args...)
	runtime.Goexit()
}

func (f *fakeTB) Fatalf(format string, args ...any) {
	f.fatal = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (f *fakeTB) Errorf(format string, args ...any) {
	f.errored = fmt.Sprintf(format, args...)
}
