package redistest

import (
	"strings"
	"testing"
)

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

func TestStartFailsWithTheServersOwnWords(t *testing.T) {
	Start(t) // skips where there is no Redis
	fake := runFake(t, func(t testing.TB) { Start(t, "--no-such-flag", "1") })
	if !strings.Contains(fake.fatal, ">>> 'no-such-flag") {
		t.Errorf("Start with a wrong flag failed with %q", fake.fatal)
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
