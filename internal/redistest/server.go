package redistest

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"
)

// Server is a redis-server process on a loopback port.
//
// Addr and Client are safe for concurrent use, the other methods are not. All
// of them fail the test that was given to [Start] when something goes wrong,
// by t.Fatal, and so belong on that test's own goroutine.
type Server struct {
	t    testing.TB
	path string   // of redis-server
	args []string // the same for every run
	mark string   // what a run prints when it is ready
	port int

	run *process // nil while the server is down
}

// Start runs a redis-server on a free loopback port and returns when it
// accepts connections. It keeps nothing on disk unless args say otherwise;
// they are configuration flags such as "--appendonly", "yes". Port, address,
// directory and log output are the Server's own and cannot be changed. The
// server ends with t.
//
// Without redis-server on PATH the test is skipped, or fails if
// PASSBUDDY_REDIS=require is set. PASSBUDDY_REDIS_SERVER names another program
// to run, which must be there.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, freePort, serverReady, func(dir string, port int) ([]string, error) {
		return serverArgs(dir, port, args...), nil
	})
}

const serverReady = "Ready to accept connections"

// serverArgs puts extra where it overrides the defaults, but not what the
// Server relies on.
func serverArgs(dir string, port int, extra ...string) []string {
	line := append([]string{"--save", "", "--appendonly", "no"}, extra...)
	return append(line,
		"--bind", "127.0.0.1",
		"--port", strconv.Itoa(port),
		"--dir", dir,
		"--daemonize", "no",
		"--logfile", "",
	)
}

// start runs redis-server with the arguments that commandLine makes for a
// directory and a port, on a port that pick chooses, until it prints mark.
// Between the choice of a port and its use another process may take it; then
// it tries again with another.
func start(t testing.TB, pick func(testing.TB) (int, error), mark string, commandLine func(dir string, port int) ([]string, error)) *Server {
	t.Helper()
	s := &Server{t: t, path: redisServer(t), mark: mark}
	dir := t.TempDir()
	for range 10 {
		port, err := pick(t)
		if err != nil {
			t.Fatalf("redistest: %v", err)
		}
		args, err := commandLine(dir, port)
		if err != nil {
			t.Fatalf("redistest: %v", err)
		}
		s.port, s.args = port, args
		s.run, err = launch(s.path, s.args, s.mark)
		if errors.Is(err, errPortTaken) {
			continue
		}
		if err != nil {
			t.Fatalf("redistest: %v", err)
		}
		t.Cleanup(s.end)
		return s
	}
	t.Fatal("redistest: every port tried was taken by another process")
	return nil
}

// redisServer finds the program, or skips or fails the test. It is the
// sentinel's too, with --sentinel.
func redisServer(t testing.TB) string {
	t.Helper()
	if named := os.Getenv("PASSBUDDY_REDIS_SERVER"); named != "" {
		path, err := exec.LookPath(named)
		if err != nil {
			t.Fatalf("redistest: PASSBUDDY_REDIS_SERVER: %v", err)
		}
		return path
	}
	path, err := exec.LookPath("redis-server")
	if err == nil {
		return path
	}
	if os.Getenv("PASSBUDDY_REDIS") == "require" {
		t.Fatalf("redistest: PASSBUDDY_REDIS=require, but there is no redis-server: %v", err)
	}
	t.Skip("redis-server not found: install it to run this test")
	return ""
}

// Addr returns the server's address, the same for its whole life.
func (s *Server) Addr() string { return loopback(s.port) }

// PID returns the process id of the present run, or 0 while the server is
// down.
func (s *Server) PID() int {
	if s.run == nil {
		return 0
	}
	return s.run.cmd.Process.Pid
}

// Client returns a client with the library's default options. It is closed
// when t ends. It does not connect before its first command.
func (s *Server) Client(t testing.TB) *redis.Client {
	client := redis.NewClient(&redis.Options{Addr: s.Addr()})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Pause stops the process where it stands: connections stay open, new ones are
// still accepted by the kernel, and nothing is answered. On Linux it returns
// when the process has stopped. Pausing twice is the same as once.
func (s *Server) Pause() {
	s.t.Helper()
	if err := stopProcess(s.running().cmd.Process); err != nil {
		s.t.Fatalf("redistest: pause %s: %v", s.Addr(), err)
	}
}

// Resume lets a paused server go on. It first works off what arrived in the
// meantime, including what the senders have long given up on.
func (s *Server) Resume() {
	s.t.Helper()
	if err := continueProcess(s.running().cmd.Process); err != nil {
		s.t.Fatalf("redistest: resume %s: %v", s.Addr(), err)
	}
}

func (s *Server) running() *process {
	s.t.Helper()
	if s.run == nil {
		s.t.Fatalf("redistest: the server on %s is down", s.Addr())
	}
	return s.run
}

// Kill ends the process with SIGKILL, as a crash would, and returns when it is
// gone. A paused server dies without running another command. Killing a server
// that is down does nothing.
func (s *Server) Kill() {
	s.t.Helper()
	s.end()
}

// Restart kills the server if it is up and starts it again on the same port
// with the same arguments. What was not on disk is gone. It returns when the
// server accepts connections.
func (s *Server) Restart() {
	s.t.Helper()
	s.end()
	run, err := launch(s.path, s.args, s.mark)
	if err != nil {
		s.t.Fatalf("redistest: restart on %s: %v", s.Addr(), err)
	}
	s.run = run
}

// end is Kill for t.Cleanup, which must go on with the others' after a
// failure.
func (s *Server) end() {
	s.t.Helper()
	if s.run == nil {
		return
	}
	if err := s.run.kill(); err != nil {
		s.t.Errorf("redistest: %v", err)
	}
	s.run = nil
}
