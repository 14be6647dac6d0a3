package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestServerAnswersAsSoonAsStartReturns(t *testing.T) {
	t.Parallel()
	s := Start(t, "--maxmemory", "123456789")
	config, err := s.Client(t).ConfigGet(t.Context(), "maxmemory").Result()
	if err != nil {
		t.Fatal(err)
	}
	if got := config["maxmemory"]; got != "123456789" {
		t.Errorf("maxmemory is %q: extra arguments did not arrive", got)
	}
}

func TestServerListensOnLoopbackOnlyWhateverTheArguments(t *testing.T) {
	t.Parallel()
	s := Start(t, "--bind", "0.0.0.0", "--port", "1", "--logfile", "log", "--daemonize", "yes")
	config, err := s.Client(t).ConfigGet(t.Context(), "bind").Result()
	if err != nil {
		t.Fatal(err)
	}
	if got := config["bind"]; got != "127.0.0.1" {
		t.Errorf("bind is %q, want 127.0.0.1", got)
	}
}

func TestRestartKeepsThePortAndLosesTheData(t *testing.T) {
	t.Parallel()
	s := Start(t)
	addr, pid := s.Addr(), s.PID()
	client := s.Client(t)
	mustSet(t, client, "k", "v")
	s.Restart()
	if s.Addr() != addr {
		t.Errorf("address is %s after the restart, was %s", s.Addr(), addr)
	}
	if s.PID() == pid || s.PID() == 0 {
		t.Errorf("process id is %d after the restart, was %d", s.PID(), pid)
	}
	if err := client.Get(t.Context(), "k").Err(); !errors.Is(err, redis.Nil) {
		t.Errorf("GET after the restart: %v, want redis.Nil", err)
	}
}

func TestRestartKeepsDataThatArgumentsMadePersistent(t *testing.T) {
	t.Parallel()
	s := Start(t, "--appendonly", "yes", "--appendfsync", "always")
	client := s.Client(t)
	mustSet(t, client, "k", "v")
	s.Kill()
	if s.PID() != 0 {
		t.Errorf("process id is %d while the server is down", s.PID())
	}
	s.Restart()
	if got, err := client.Get(t.Context(), "k").Result(); err != nil || got != "v" {
		t.Errorf("GET after the restart: %q, %v", got, err)
	}
}

func TestPausedServerAnswersOnlyWhenItIsResumed(t *testing.T) {
	t.Parallel()
	s := Start(t)
	conn := dial(t, s.Addr())
	conn.mustAnswer("PING", "+PONG")
	s.Pause()
	s.Pause()
	conn.send("PING")
	conn.mustStaySilent()
	s.Resume()
	conn.mustRead("+PONG")
	s.Pause()
	conn.send("PING")
	conn.mustStaySilent()
}

func TestKilledServerRunsNothingThatArrivedDuringItsPause(t *testing.T) {
	t.Parallel()
	s := Start(t, "--appendonly", "yes", "--appendfsync", "always")
	conn := dial(t, s.Addr())
	conn.mustAnswer("INCR n", ":1")
	s.Pause()
	conn.send("INCR n")
	s.Kill()
	s.Restart()
	if n, err := s.Client(t).Get(t.Context(), "n").Int(); err != nil || n != 1 {
		t.Errorf("n is %d, %v; want 1", n, err)
	}
}

func TestServerEndsWithItsTest(t *testing.T) {
	redisServer(t)
	var run *process
	t.Run("owner", func(t *testing.T) {
		s := Start(t)
		s.Pause()
		run = s.run
	})
	if run == nil {
		t.Fatal("the server did not start")
	}
	select {
	case <-run.exited:
	default:
		t.Errorf("process %d outlived its test", run.cmd.Process.Pid)
	}
}

func TestStartTriesAnotherPortWhenTheFirstIsTakenMeanwhile(t *testing.T) {
	t.Parallel()
	other := Start(t)
	picks := 0
	pick := func(t testing.TB) (int, error) {
		if picks++; picks == 1 {
			return other.port, nil
		}
		return freePort(t)
	}
	s := start(t, pick, serverReady, func(dir string, port int) ([]string, error) {
		return serverArgs(dir, port), nil
	})
	if picks != 2 || s.Addr() == other.Addr() {
		t.Errorf("server on %s after %d picks; %s was taken", s.Addr(), picks, other.Addr())
	}
}

func TestStartFailsWithTheServersOwnWords(t *testing.T) {
	Start(t) // skips where there is no Redis
	fake := runFake(t, func(t testing.TB) { Start(t, "--no-such-flag", "1") })
	if !strings.Contains(fake.fatal, ">>> 'no-such-flag") {
		t.Errorf("Start with a wrong flag failed with %q", fake.fatal)
	}
}

func TestRestartFailsWhenThePortIsTakenMeanwhile(t *testing.T) {
	other := Start(t)
	fake := runFake(t, func(t testing.TB) {
		down := &Server{t: t, path: other.path, args: other.args, mark: other.mark, port: other.port}
		down.Restart()
	})
	if !strings.Contains(fake.fatal, errPortTaken.Error()) {
		t.Errorf("failed with %q, want %q", fake.fatal, errPortTaken)
	}
}

func TestServerThatEndedByItselfFailsItsTest(t *testing.T) {
	s := Start(t)
	if err := s.run.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.run.exited
	fake := &fakeTB{TB: t}
	s.t = fake
	s.Kill()
	if !strings.Contains(fake.errored, "ended by itself (signal: killed)") {
		t.Errorf("reported %q", fake.errored)
	}
}

func TestServerThatWasShutDownFailsNothing(t *testing.T) {
	t.Parallel()
	s := Start(t)
	dial(t, s.Addr()).send("SHUTDOWN NOSAVE")
	<-s.run.exited
	s.Kill()
}

func TestWithoutRedisServerTestsAreSkippedUnlessRequired(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("PASSBUDDY_REDIS_SERVER", "")

	t.Setenv("PASSBUDDY_REDIS", "")
	fake := runFake(t, func(t testing.TB) { Start(t) })
	if want := "redis-server not found: install it to run this test"; fake.skipped != want {
		t.Errorf("skipped with %q, want %q", fake.skipped, want)
	}

	t.Setenv("PASSBUDDY_REDIS", "require")
	fake = runFake(t, func(t testing.TB) { Start(t) })
	if !strings.Contains(fake.fatal, "PASSBUDDY_REDIS=require") {
		t.Errorf("failed with %q, want the reason", fake.fatal)
	}
}

func TestServerThatTheEnvironmentNamesIsRun(t *testing.T) {
	named := redisServer(t)
	t.Setenv("PATH", t.TempDir())
	t.Setenv("PASSBUDDY_REDIS_SERVER", named)
	if s := Start(t); s.path != named {
		t.Errorf("ran %s, want %s", s.path, named)
	}

	t.Setenv("PASSBUDDY_REDIS_SERVER", named+"-that-is-not-there")
	fake := runFake(t, func(t testing.TB) { Start(t) })
	if !strings.Contains(fake.fatal, "PASSBUDDY_REDIS_SERVER") || !strings.Contains(fake.fatal, "-that-is-not-there") {
		t.Errorf("failed with %q, skipped with %q; want the reason", fake.fatal, fake.skipped)
	}
}

// TestServerDiesWithTheTestBinary runs this test again in a process of its
// own, kills that, and waits for the server's end of a connection to close.
func TestServerDiesWithTheTestBinary(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux kills a child with its parent")
	}
	if os.Getenv("REDISTEST_VICTIM") != "" {
		s := Start(t)
		_, _ = os.Stdout.WriteString("serving " + s.Addr() + "\n")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return
	}
	redisServer(t)
	victim := exec.Command(os.Args[0], "-test.run=^TestServerDiesWithTheTestBinary$")
	victim.Env = append(os.Environ(), "REDISTEST_VICTIM=1")
	stdin, err := victim.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "serving ")
	if !ok {
		_ = victim.Process.Kill()
		_ = victim.Wait()
		t.Fatalf("the victim said %q, %v", line, err)
	}
	conn := dial(t, addr)
	conn.mustAnswer("PING", "+PONG")
	if err := victim.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = victim.Wait()
	conn.mustEnd()
}

func BenchmarkPing(b *testing.B) {
	s := Start(b)
	for name, addr := range map[string]string{"direct": s.Addr(), "proxy": NewProxy(b, s.Addr()).Addr()} {
		b.Run(name, func(b *testing.B) {
			client := redis.NewClient(&redis.Options{Addr: addr})
			defer client.Close()
			for b.Loop() {
				if err := client.Ping(b.Context()).Err(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func mustSet(t testing.TB, client redis.Cmdable, key, value string) {
	t.Helper()
	if err := client.Set(t.Context(), key, value, 0).Err(); err != nil {
		t.Fatal(err)
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
