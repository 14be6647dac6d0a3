package cli

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
)

func TestRunSaysHowItWentByItsExitCode(t *testing.T) {
	server := redistest.Start(t)
	notExecutable := temporary(t, "data")
	if err := os.WriteFile(notExecutable, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	passbuddy(t, server, "run", "taken", "--capacity", "1", "--", "sleep", "60").start()
	redistest.Eventually(t, "it is held", heldBy(server, "taken", 1))
	for _, tc := range []struct {
		args string
		code int
		says string
	}{
		{"run a --capacity 1 -- true", 0, ""},
		{"run a --capacity 1 -- sh -c 'exit 3'", 3, ""},
		{"run a --capacity 1 -- sh -c 'kill -TERM $$'", 128 + 15, ""},
		{"run a --capacity 1 -c 'exit 4'", 4, ""},
		{"--prefix other run a --capacity 1 -- true", 0, ""},
		{"run a --capacity 1 -- " + notExecutable, 126, "may not be executed"},
		{"run a --capacity 1 -- no-such-command", 127, "no such command"},
		{"run taken -n -- true", 75, "at capacity"},
		{"run taken --max-wait 50ms -- true", 75, "at capacity"},
		{"run taken -n -E 9 -- true", 9, "at capacity"},
		{"run a", 64, "passbuddy run NAME -- COMMAND"},
		{"run -- true", 64, "passbuddy run NAME -- COMMAND"},
		{"run a true -x", 64, "see passbuddy run --help"},
		{"run a true", 64, "passbuddy run a -- true"},
		{"run a -c true -- false", 64, "-c runs a line of its own"},
		{"run unknown -- true", 64, "--capacity N"},
		{"run a --capacity 0 -- true", 64, "--capacity 0: at least 1"},
		{"run a --capacity 1 --weight 2 -- true", 64, "2"},
		{"run a --capacity 1 --weight 0 -- true", 64, "--weight 0: at least 1"},
		{"run a --capacity 1 --ttl 10s --grace 3s -- true", 64, "--ttl 12s"},
		{"run a --capacity 1 --ttl 1ms -- true", 64, "TTL"},
		{"run a --capacity 1 --leftover x -- true", 64, `--leftover "x": wait or kill`},
		{"run a --capacity 1 --on-lost x -- true", 64, `--on-lost "x"`},
		{"run a --capacity 1 --on-lost signal:NO -- true", 64, "no such signal"},
		{"run a --capacity 1 --label a@b -- true", 64, "Label"},
		{"run a --capacity 1 --report /no/such/file -- true", 73, "--report"},
		{"--url redis://127.0.0.1:1 run a --capacity 1 -- true", 69, "refused"},
		{"--url http://x run a --capacity 1 -- true", 64, "URL"},
		{"nonsense", 64, "nonsense"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			t.Parallel()
			c := passbuddy(t, server, words(tc.args)...).start()
			c.mustExit(tc.code)
			said := c.err.String()
			if tc.says == "" && said != "" || !strings.Contains(said, tc.says) {
				t.Errorf("it said %q, want %q", said, tc.says)
			}
			if n := strings.Count(said, "\n"); n > 1 {
				t.Errorf("it said %d lines: %s", n, said)
			}
		})
	}
}

// words splits a line at spaces, but for what is between single quotes.
func words(line string) (list []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			list = append(list, part)
		} else {
			list = append(list, strings.Fields(part)...)
		}
	}
	return list
}

func TestRunIsRefused(t *testing.T) {
	server := redistest.Start(t)
	if err := server.Client(t).Do(t.Context(), "ACL", "SETUSER", "reader", "on", ">pw", "~*", "&*", "+@read", "+ping", "+hello", "+client").Err(); err != nil {
		t.Fatal(err)
	}
	for url, says := range map[string]string{
		"redis://nobody:pw@" + server.Addr(): "WRONGPASS",
		"redis://reader:pw@" + server.Addr(): "NOPERM",
	} {
		c := passbuddy(t, server, "--url", url, "run", "a", "--capacity", "1", "--", "true").start()
		c.mustExit(77)
		if said := c.err.String(); !strings.Contains(said, says) || strings.Contains(said, "pw") {
			t.Errorf("it said %q", said)
		}
	}
}

func TestRunTellsTheCommandAboutItsLease(t *testing.T) {
	server := redistest.Start(t)
	report := temporary(t, "report")
	c := passbuddy(t, server, "run", "gpu", "--capacity", "8", "--slots", "--weight", "2", "--ttl", "3s", "--report", report, "--", "env")
	c.Env = append(c.Env, "PASSBUDDY_URL=redis://"+server.Addr())
	c.start().mustExit(0)
	env := map[string]string{}
	for line := range strings.Lines(c.out.String()) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		env[name] = value
	}
	r := readReport(t, report)
	for name, want := range map[string]string{
		"PASSBUDDY_NAME": "gpu", "PASSBUDDY_SLOT": "0", "PASSBUDDY_SLOTS": "0,1", "PASSBUDDY_WEIGHT": "2", "PASSBUDDY_LABEL": "env",
		"PASSBUDDY_TTL_MS": "3000", "PASSBUDDY_ID": r.ID, "PASSBUDDY_TOKEN": fmt.Sprint(r.Token), "PASSBUDDY_URL": "",
	} {
		if env[name] != want {
			t.Errorf("%s=%q, want %q", name, env[name], want)
		}
	}
	if r.Outcome != "completed" || r.ExitCode != 0 || r.Held <= 0 || r.Held > time.Minute.Seconds() {
		t.Errorf("the report: %+v", r)
	}
}

func TestRunInsideARunOfTheSameNameIsRefused(t *testing.T) {
	server := redistest.Start(t)
	inner := func(name string, more ...string) []string {
		return append(append([]string{"run", "outer", "--capacity", "1", "--", binary, "run", name, "--capacity", "1"}, more...), "--", "true")
	}
	passbuddy(t, server, inner("outer")...).start().mustExit(64)
	passbuddy(t, server, inner("outer", "--allow-nested", "-n")...).start().mustExit(75)
	passbuddy(t, server, inner("another")...).start().mustExit(0)
}
