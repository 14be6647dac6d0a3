// Package start_test runs the programs of docs/getting-started.md, and has Redis stop.
package start_test

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/eqworks/passbuddy/internal/redistest"
)

func TestTheProgramsOfGettingStartedDoWhatThePageSays(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it builds two programs, and waits until they lose their leases")
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-ldflags=-s -w", "-o", bin, "./do", "./teardown").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, tc := range []struct {
		program, happens string
		then             []string // in this order
	}{
		{"do", "Redis stops", []string{`context canceled \(lease: lost permit .* of semaphore "reports": trust window ended without a renewal: .*\)`}},
		{"do", "SIGTERM", []string{`context canceled$`}},
		{"teardown", "Redis stops", []string{`lease: lost permit .*:daily@.* of semaphore "reports": trust window ended without a renewal: `}},
		{"teardown", "SIGTERM", []string{`INFO tidies up, still under the permit`, `terminated signal received$`}},
	} {
		t.Run(tc.program+"/"+tc.happens, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			cmd := exec.CommandContext(t.Context(), filepath.Join(bin, tc.program))
			cmd.Env = append(cmd.Environ(), "REDIS_URL=redis://"+server.Addr())
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var said []string
			happened := false
			for lines := bufio.NewScanner(stderr); lines.Scan(); {
				said = append(said, lines.Text())
				if happened || !strings.Contains(lines.Text(), "INFO writes page=2") {
					continue
				}
				happened = true
				if tc.happens == "SIGTERM" {
					_ = cmd.Process.Signal(syscall.SIGTERM)
				} else {
					server.Pause()
				}
			}
			if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 1 {
				t.Errorf("it ended with %v, want exit code 1", err)
			}
			rest := said
			for _, want := range tc.then {
				for len(rest) > 0 && !regexp.MustCompile(want).MatchString(rest[0]) {
					rest = rest[1:]
				}
				if len(rest) == 0 {
					t.Errorf("no line, or not in its place: %s\n%s", want, strings.Join(said, "\n"))
				}
			}
			if tc.happens == "Redis stops" && strings.Contains(strings.Join(said, "\n"), "tidies up") {
				t.Errorf("it tidied up without a permit:\n%s", strings.Join(said, "\n"))
			}
		})
	}
}
