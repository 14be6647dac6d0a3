package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// said is what one call of the program has printed.
type said struct {
	code     int
	out, err string
}

// calls runs the program in this process.
func calls(server *redistest.Server, args ...string) said {
	var out, err bytes.Buffer
	code := Main(append([]string{"--url", "redis://" + server.Addr()}, args...), strings.NewReader(""), &out, &err)
	return said{code, out.String(), err.String()}
}

func (s said) must(t *testing.T, code int, out, err string) said {
	t.Helper()
	if s.code != code || !strings.Contains(s.out, out) || !strings.Contains(s.err, err) || err == "" && s.err != "" || strings.Count(s.err, "\n") > 1 {
		t.Errorf("code %d, want %d\nstdout, want %q:\n%s\nstderr, want %q:\n%s", s.code, code, out, s.out, err, s.err)
	}
	return s
}

// decode reads what was printed as JSON.
func (s said) decode(t *testing.T) (v map[string]any) {
	t.Helper()
	if s.code != 0 {
		t.Fatalf("code %d: %s", s.code, s.err)
	}
	if err := json.Unmarshal([]byte(s.out), &v); err != nil {
		t.Fatalf("%v:\n%s", err, s.out)
	}
	if v["schema"] != 1.0 {
		t.Errorf("schema %v", v["schema"])
	}
	return v
}

// A fleet of one process, which holds and waits.
func semaphore(t *testing.T, server *redistest.Server, cfg lease.Config) *lease.Semaphore {
	t.Helper()
	s, err := manager(t, server).Semaphore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func hold(t *testing.T, s *lease.Semaphore, opts ...lease.AcquireOption) *lease.Lease {
	t.Helper()
	l, err := s.Acquire(t.Context(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// queue has a caller wait until the test ends.
func queue(t *testing.T, server *redistest.Server, s *lease.Semaphore, opts ...lease.AcquireOption) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	before, err := s.Inspect(ctx)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if l, err := s.Acquire(ctx, opts...); err == nil {
			_ = l.Release()
		}
	}()
	redistest.Eventually(t, "it waits", func(ctx context.Context) error {
		now, err := s.Inspect(ctx)
		if err == nil && len(now.Waiters) == len(before.Waiters) {
			err = fmt.Errorf("%d wait", len(now.Waiters))
		}
		return err
	})
}

func TestLsShowsAllSemaphores(t *testing.T) {
	server := redistest.Start(t)
	calls(server, "ls").must(t, 0, "", "no semaphore matches")
	gpu := semaphore(t, server, lease.Config{Name: "gpu", Capacity: 2})
	hold(t, gpu, lease.Weight(2))
	queue(t, server, gpu)
	api := semaphore(t, server, lease.Config{Name: "api-1", Capacity: 8})
	hold(t, api)
	calls(server, "resize", "api-1", "12").must(t, 0, "api-1: capacity 8 → 12", "passbuddy resize api-1 --reset")
	db := semaphore(t, server, lease.Config{Name: "api-2", Capacity: 1})
	_ = hold(t, db).Release()
	calls(server, "pause", "api-2").must(t, 0, "capacity 1 → 0", "passbuddy resume api-2")

	lines := strings.Split(calls(server, "ls").must(t, 0, "NAME", "").out, "\n")
	for i, want := range [][]string{
		{"NAME", "CAP", "HELD", "WAIT", "OLDEST", "WAIT", "NEXT", "EXPIRY", "STATE"},
		{"api-1", "12", "1", "0", "-", "*", "resized", "8→12"},
		{"api-2", "0", "0", "0", "-", "-", "paused"},
		{"gpu", "2", "2", "1", "*", "*", "ok"},
	} {
		got := strings.Fields(lines[i])
		if len(got) != len(want) {
			t.Fatalf("line %q, want %v", lines[i], want)
		}
		for j := range want {
			if want[j] != "*" && got[j] != want[j] {
				t.Errorf("line %q, want %v", lines[i], want)
			}
		}
	}
	if out := calls(server, "ls", "api-*", "--sort", "held").must(t, 0, "api-1", "").out; strings.Contains(out, "gpu") {
		t.Errorf("what matches api-*:\n%s", out)
	}
	calls(server, "ls", "--sort", "wait", "--limit", "1").must(t, 0, "gpu", "2 more: --limit 3")
	calls(server, "ls", "[").must(t, 64, "", "the pattern")
	calls(server, "ls", "--sort", "age").must(t, 64, "", `--sort "age"`)
	v := calls(server, "ls", "--json").decode(t)
	if list := v["semaphores"].([]any); len(list) != 3 || list[2].(map[string]any)["held"] != 2.0 || list[1].(map[string]any)["state"] != "paused" {
		t.Errorf("JSON: %v", v)
	}
}

func TestInspectShowsWhoHoldsAndWhoWaits(t *testing.T) {
	server := redistest.Start(t)
	calls(server, "inspect", "gpu").must(t, 1, "", `there is no semaphore "gpu"`)
	s := semaphore(t, server, lease.Config{Name: "gpu", Capacity: 4, Slots: true, TTL: 20 * time.Second})
	l := hold(t, s, lease.Weight(4), lease.Label("train"))
	queue(t, server, s, lease.Label("next"))
	out := calls(server, "inspect", "gpu").must(t, 0, "gpu: 4 of 4 held, 1 waiting, ok\nThe fleet declares a capacity of 4 and a TTL of 20s.\n", "").out
	for _, want := range []string{l.ID(), "train", "0,1,2,3", "PLACE", "next", "CALLERS THAT WAIT"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	v := calls(server, "inspect", "gpu", "--json").decode(t)
	holders, waiters := v["holders"].([]any), v["waiters"].([]any)
	if len(holders) != 1 || holders[0].(map[string]any)["id"] != l.ID() || len(waiters) != 1 || waiters[0].(map[string]any)["alive"] != true || v["declared_ttl_s"] != 20.0 {
		t.Errorf("JSON: %v", v)
	}
	calls(server, "inspect").must(t, 64, "", "see passbuddy")
}

func TestWhatRedisSaysCannotChangeTheTerminal(t *testing.T) {
	server := redistest.Start(t)
	s := semaphore(t, server, lease.Config{Name: "gpu", Capacity: 2})
	hold(t, s)
	evil := redis.Z{Member: "evil\x1b[2J\r\u202e", Score: float64(time.Now().Add(time.Minute).UnixMilli())}
	if err := server.Client(t).ZAdd(t.Context(), "passbuddy-gpu", evil).Err(); err != nil {
		t.Fatal(err)
	}
	if out := calls(server, "inspect", "gpu").must(t, 0, `evil\x1b[2J\x0d\u202e`, "").out; strings.ContainsAny(out, "\x1b\r\u202e") {
		t.Errorf("%q", out)
	}
}

func TestOperatorsCommandsSayWhatTheyChanged(t *testing.T) {
	server := redistest.Start(t)
	s := semaphore(t, server, lease.Config{Name: "my gpu", Capacity: 2})
	hold(t, s, lease.Weight(2))
	calls(server, "resize", "my gpu", "3").must(t, 0, "my gpu: capacity 2 → 3, 2 held\n", "to undo it: passbuddy resize 'my gpu' --reset")
	calls(server, "resume", "my gpu").must(t, 1, "", "it is resized to 3, and passbuddy resize 'my gpu' --reset ends that")
	v := calls(server, "pause", "my gpu", "--json", "--reason", "new driver").decode(t)
	if v["capacity_before"] != 3.0 || v["capacity_after"] != 0.0 || v["undo"] != "passbuddy resume 'my gpu'" {
		t.Errorf("JSON: %v", v)
	}
	calls(server, "inspect", "my gpu").must(t, 0, "set it to 0 ", "")
	if out := calls(server, "inspect", "my gpu").out; !strings.Contains(out, "ago: new driver.\n") {
		t.Errorf("no reason in\n%s", out)
	}
	o := calls(server, "inspect", "my gpu", "--json").decode(t)["override"].(map[string]any)
	if o["reason"] != "new driver" || o["before_pause"] != 3.0 || o["by"] == "" || o["at"] == "" {
		t.Errorf("JSON: %v", o)
	}
	calls(server, "-q", "resume", "my gpu").must(t, 0, "my gpu: capacity 0 → 3, 2 held\n", "")
	calls(server, "resize", "my gpu", "--reset").must(t, 0, "my gpu: capacity 3 → 2, 2 held\n", "to undo it: passbuddy resize 'my gpu' 3")
	calls(server, "resume", "my gpu").must(t, 1, "", "my gpu is not paused")
	calls(server, "-q", "resize", "my gpu", "5").must(t, 0, "2 → 5", "")
	for _, c := range []struct{ args, undo string }{
		{"resize 0", "passbuddy resize 'my gpu' 5"}, // resume would not know of 5
		{"resize 5", ""}, // ends a pause
		{"pause", "passbuddy resume 'my gpu'"},
		{"pause", ""}, // nothing has changed
		{"resume", "passbuddy pause 'my gpu'"},
		{"resize --reset", "passbuddy resize 'my gpu' 5"},
	} {
		verb, rest, _ := strings.Cut(c.args, " ")
		args := []string{verb, "my gpu", "--json"}
		if rest != "" {
			args = append(args, rest)
		}
		if v := calls(server, args...).decode(t); fmt.Sprint(v["undo"]) != c.undo && (c.undo != "" || v["undo"] != nil) {
			t.Errorf("%s is undone by %q, want %q", c.args, v["undo"], c.undo)
		}
	}
	calls(server, "resize", "my gpu").must(t, 64, "", "--reset")
	calls(server, "resize", "my gpu", "3", "--reset").must(t, 64, "", "--reset goes without a capacity")
	calls(server, "pause", "my gpu", "--reason", "a\nb").must(t, 64, "", "reason")
	calls(server, "resume", "nobody").must(t, 1, "", "there is no semaphore")
	calls(server, "resize", "my gpu", "many").must(t, 64, "", `the capacity "many"`)
	calls(server, "resize", "my gpu", "-1").must(t, 64, "", "-1")
}

func TestRevokeTakesPermitsAway(t *testing.T) {
	server := redistest.Start(t)
	s := semaphore(t, server, lease.Config{Name: "gpu", Capacity: 9, TTL: 2 * time.Second})
	a, b, c := hold(t, s), hold(t, s), hold(t, s)
	calls(server, "revoke", "gpu", a.ID()).must(t, 64, "", "say --yes")
	calls(server, "revoke", "gpu").must(t, 64, "", "--all-of OWNER")
	calls(server, "revoke", "gpu", "0").must(t, 64, "", "3 ids begin with")
	calls(server, "revoke", "gpu", "nothing", "-y").must(t, 1, "", "no permit's id begins with")
	calls(server, "revoke", "gpu", "--all-of", "nobody", "-y").must(t, 1, "", `"nobody" holds nothing`)
	calls(server, "revoke", "gpu", a.ID(), "-y").must(t, 0, "took "+a.ID()+" away", "")
	<-a.Held().Done()
	if b.Err() != nil || c.Err() != nil {
		t.Error("another lease ended")
	}
	calls(server, "revoke", "gpu", b.ID(), "-y", "--wait", "50ms").must(t, 75, "took", "they are still held")
	for _, l := range []*lease.Lease{a, b} {
		_ = l.Release()
	}
	go func() { <-c.Held().Done(); _ = c.Release() }()
	state, err := s.Inspect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v := calls(server, "revoke", "gpu", "--all-of", state.Holders[0].Owner, "-y", "--wait", "10s", "--json").decode(t)
	if v["free"] != true {
		t.Errorf("JSON: %v", v)
	}
}

func TestThereIsNoRedis(t *testing.T) {
	var out, errs bytes.Buffer
	for _, args := range [][]string{{"ls"}, {"inspect", "gpu"}, {"pause", "gpu"}, {"revoke", "gpu", "x", "-y"}} {
		errs.Reset()
		code := Main(append([]string{"--url", "redis://:secret@127.0.0.1:1", "--timeout", "1s"}, args...), strings.NewReader(""), &out, &errs)
		if text := errs.String(); code != 69 || strings.Count(text, "\n") != 1 || strings.Contains(text, "secret") || !strings.Contains(text, "127.0.0.1:1") {
			t.Errorf("%v: code %d: %s", args, code, text)
		}
	}
}
