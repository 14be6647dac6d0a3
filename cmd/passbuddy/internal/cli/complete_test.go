package cli

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// completes is what a shell is offered.
func completes(t *testing.T, server *redistest.Server, words ...string) []string {
	t.Helper()
	said := calls(server, append([]string{"__complete"}, words...)...)
	lines := strings.Split(strings.TrimSpace(said.out), "\n")
	if said.code != 0 || len(lines) == 0 {
		t.Fatalf("%v: code %d: %s", words, said.code, said.err)
	}
	return lines
}

func TestNamesAndPermitsAreCompleted(t *testing.T) {
	server := redistest.Start(t)
	l := hold(t, semaphore(t, server, lease.Config{Name: "gpu", Capacity: 2}), lease.Label("train"))
	hold(t, semaphore(t, server, lease.Config{Name: "api", Capacity: 2}))
	for _, c := range []struct{ line, want string }{
		{"inspect ,", "api gpu :4"},
		{"watch gpu ,g", "gpu :4"},
		{"run ,g", "gpu :4"},
		{"run gpu ,", ":0"}, // files
		{"pause ,x", ":4"},
		{"pause gpu ,", ":4"},
		{"doctor --name ,a", "api :4"},
		{"ls --sort ,", "name held wait expiry :4"},
	} {
		line, begun, _ := strings.Cut(c.line, ",")
		if got := strings.Join(completes(t, server, append(strings.Fields(line), begun)...), " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.line, got, c.want)
		}
	}
	got := completes(t, server, "revoke", "gpu", l.ID()[:8])
	if id, who, _ := strings.Cut(got[0], "\t"); id != l.ID() || !strings.HasSuffix(who, " train") {
		t.Errorf("the permits are %q", got)
	}
}

func TestACompletionSaysNothingWhenRedisIsAway(t *testing.T) {
	server := redistest.Start(t)
	server.Pause()
	defer server.Resume()
	c := passbuddy(t, server, "__complete", "inspect", "")
	c.start().mustExit(0)
	if c.out.String() != ":4\n" || strings.Contains(c.said(), server.Addr()) {
		t.Errorf("it printed %q and said %q", c.out.String(), c.said())
	}
}

// The four shells have a file each; bash understands its own.
func TestEachShellHasACompletionFile(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		var out, errs bytes.Buffer
		if code := Main([]string{"completion", shell}, strings.NewReader(""), &out, &errs); code != 0 || !strings.Contains(out.String(), "__complete") {
			t.Errorf("%s: code %d: %s", shell, code, errs.String())
		}
		if bash, err := exec.LookPath("bash"); shell == "bash" && err == nil {
			check := exec.CommandContext(context.Background(), bash, "-n")
			check.Stdin = &out
			if said, err := check.CombinedOutput(); err != nil {
				t.Error(fmt.Errorf("%w: %s", err, said))
			}
		}
	}
}
