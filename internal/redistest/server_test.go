package redistest

import (
	"errors"
	"testing"

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
