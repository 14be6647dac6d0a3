package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/guard"
	"github.com/eqworks/passbuddy/internal/redistest"
)

// binary is the command line as its users run it.
var binary string

func TestMain(m *testing.M) {
	logging.Disable()
	redistest.RunMoreInParallel()
	// A signal that is ignored here, as under nohup, would be ignored by the programs that the tests start. One that is handled is not.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "passbuddy")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "passbuddy")
	if out, err := exec.Command("go", "build", "-o", binary, "../..").CombinedOutput(); err != nil {
		panic(fmt.Sprintf("build: %v\n%s", err, out))
	}
	return m.Run()
}

// A call is one run of the program.
type call struct {
	t *testing.T
	*exec.Cmd
	out, err buffer
	ended    chan struct{}
}

// A buffer may be read while the program writes.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (c *call) said() string { return c.err.String() }

// passbuddy makes a call that is not yet started.
func passbuddy(t *testing.T, server *redistest.Server, args ...string) *call {
	t.Helper()
	c := &call{t: t, Cmd: exec.Command(binary, args...), ended: make(chan struct{})}
	c.Env = os.Environ()
	if server != nil {
		c.Env = append(c.Env, "REDIS_URL=redis://"+server.Addr())
	}
	c.Stdout, c.Stderr = &c.out, &c.err
	c.WaitDelay = 5 * time.Second                      // for what a broken program leaves behind, which may write to them
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no terminal
	return c
}

func (c *call) start() *call {
	c.t.Helper()
	if err := c.Cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	go func() {
		_ = c.Cmd.Wait()
		close(c.ended)
	}()
	c.t.Cleanup(func() {
		_ = c.Process.Kill()
		<-c.ended
	})
	return c
}

// code waits for the end and returns the exit code; -1 after a signal.
func (c *call) code() int {
	c.t.Helper()
	select {
	case <-c.ended:
	case <-time.After(time.Minute):
		c.t.Fatalf("%v does not end: %s", c.Args[1:], c.err.String())
	}
	return c.ProcessState.ExitCode()
}

func (c *call) mustExit(want int) {
	c.t.Helper()
	if got := c.code(); got != want {
		c.t.Errorf("%v: exit %d, want %d; it said %q", c.Args[1:], got, want, c.err.String())
	}
}

// awaitFile returns what a command has written, when it is a whole line.
func awaitFile(t *testing.T, file string) string {
	t.Helper()
	var text string
	redistest.Eventually(t, file+" is written", func(context.Context) error {
		b, err := os.ReadFile(file)
		if err == nil && !strings.HasSuffix(string(b), "\n") {
			err = errors.New("no whole line")
		}
		text = strings.TrimSpace(string(b))
		return err
	})
	return text
}

func readReport(t *testing.T, file string) (r guard.Report) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// members are the permits of a semaphore in Redis, with their expiries.
func members(t *testing.T, client *redis.Client, name string) []redis.Z {
	t.Helper()
	all, err := client.ZRangeWithScores(t.Context(), "passbuddy-"+name, 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func temporary(t *testing.T, name string) string { return filepath.Join(t.TempDir(), name) }

// needs leaves a test out on a machine without a program, but fails it in CI, which has all of them.
func needs(t *testing.T, program, why string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	} else if os.Getenv("CI") != "" {
		t.Fatal(err)
	}
	t.Skipf("%s not found: install it to run this test; %s", program, why)
}
