package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
)

var trials = flag.Int("trials", 1, "how often each fault is tried")

// A job is a run whose command has a child, and one in a session of its own; all three ignore TERM.
type job struct {
	*call
	name, dir string
	pids      []int
}

const stubborn = `trap '' TERM INT
sleep 1000 &
echo $! > child
setsid sh -c 'trap "" TERM; echo $$ > distant; exec sleep 1000' &
while [ ! -s distant ]; do sleep 0.01; done
echo $$ > first
wait`

func startJob(t *testing.T, server *redistest.Server, name string, more ...string) *job {
	t.Helper()
	j := &job{name: name, dir: t.TempDir()}
	args := append([]string{"run", name, "--capacity", "1", "--ttl", "2s", "--report", "report"}, more...)
	j.call = passbuddy(t, server, append(args, "--", "sh", "-c", stubborn)...)
	j.Dir = j.dir
	j.start()
	for _, file := range []string{"first", "child", "distant"} {
		j.pids = append(j.pids, pidIn(t, filepath.Join(j.dir, file)))
	}
	t.Cleanup(func() {
		for _, pid := range j.pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	})
	return j
}

// gone waits until all processes of the command have ended, and returns when the last one had.
func (j *job) gone() time.Time {
	j.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		alive := 0
		for _, pid := range j.pids {
			if isAlive(pid) {
				alive++
			}
		}
		now := time.Now()
		if alive == 0 {
			return now
		}
		if now.After(deadline) {
			j.t.Fatalf("%d processes are alive: %s", alive, j.err.String())
		}
		time.Sleep(time.Millisecond)
	}
}

// keeper is the process that renews for j: a child of one of its threads.
func (j *job) keeper() int {
	j.t.Helper()
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", j.Process.Pid))
	for _, file := range threads {
		children, _ := os.ReadFile(file)
		for _, child := range strings.Fields(string(children)) {
			line, _ := os.ReadFile("/proc/" + child + "/cmdline")
			if strings.Contains(string(line), keeperCommand) {
				pid, _ := strconv.Atoi(child)
				return pid
			}
		}
	}
	j.t.Fatal("there is no keeper")
	return 0
}

// A fault is what happens to a run, and what becomes of it.
type fault struct {
	strike func(*testing.T, *job, *redistest.Server)
	heal   func(*testing.T, *job, *redistest.Server) // before the exit; nil: nothing
	code   int                                       // -1: it was killed itself
	loss   string                                    // in the report
}

func send(s syscall.Signal) func(*testing.T, *job, *redistest.Server) {
	return func(t *testing.T, j *job, _ *redistest.Server) { _ = j.Process.Signal(s) }
}

func sendKeeper(s syscall.Signal) func(*testing.T, *job, *redistest.Server) {
	return func(t *testing.T, j *job, _ *redistest.Server) { _ = syscall.Kill(j.keeper(), s) }
}

var faults = map[string]fault{
	"the server is stopped": {
		strike: func(_ *testing.T, _ *job, server *redistest.Server) { server.Pause() },
		heal:   func(_ *testing.T, _ *job, server *redistest.Server) { server.Resume() },
		code:   79, loss: "expired",
	},
	"the front is killed":   {strike: send(syscall.SIGKILL), code: -1},
	"the keeper is killed":  {strike: sendKeeper(syscall.SIGKILL), code: 79, loss: "keeper"},
	"the keeper is stopped": {strike: sendKeeper(syscall.SIGSTOP), heal: sendKeeper(syscall.SIGCONT), code: 79, loss: "expired"},
	"the front and the server are stopped": {
		strike: func(t *testing.T, j *job, server *redistest.Server) {
			server.Pause()
			_ = j.Process.Signal(syscall.SIGSTOP)
		},
		heal: func(t *testing.T, j *job, server *redistest.Server) {
			server.Resume()
			_ = j.Process.Signal(syscall.SIGCONT)
		},
		code: 79, loss: "expired",
	},
	"the permit is revoked": {
		strike: func(t *testing.T, j *job, server *redistest.Server) {
			m := manager(t, server)
			if err := m.Revoke(t.Context(), j.name, readID(t, server, j.name)); err != nil {
				t.Error(err)
			}
		},
		code: 79, loss: "revoked",
	},
}

func TestTheCommandIsGoneBeforeItsPermit(t *testing.T) {
	if testing.Short() {
		t.Skip("-short: it takes as long as a permit lives")
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) { // one after the other: a busy machine kills late
			for range *trials {
				f.try(t)
			}
		})
	}
}

func (f fault) try(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t)
	j := startJob(t, server, "job")
	f.strike(t, j, server)
	struck := time.Now()
	last := j.gone()
	if f.heal != nil {
		f.heal(t, j, server)
	}
	if all := members(t, client, "job"); len(all) == 0 {
		t.Logf("the last process ended %v after the strike, and the permit is free", last.Sub(struck))
	} else {
		if left := time.UnixMilli(int64(all[0].Score)).Sub(last); left <= 0 {
			t.Errorf("the last process ended %v after the permit's expiry", -left)
		} else {
			t.Logf("the last process ended %v after the strike, %v before the permit's expiry", last.Sub(struck), left)
		}
	}
	if j.mustExit(f.code); f.code < 0 {
		return
	}
	if r := readReport(t, filepath.Join(j.dir, "report")); r.Outcome != "lost" || r.Loss == nil || r.Loss.Reason != f.loss || r.Loss.LastGone.IsZero() {
		t.Errorf("the report: %+v, loss %+v", r, r.Loss)
	}
	if said := j.err.String(); !strings.Contains(said, "the lease was lost, and sh was stopped") || strings.Count(said, "\n") != 1 {
		t.Errorf("it said %q", said)
	}
}

func TestThePermitIsFreeWhenTheCommandHasEnded(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t)
	for range *trials {
		dir := t.TempDir()
		c := passbuddy(t, server, "run", "quick", "--capacity", "1", "--", "sh", "-c", "echo $$ > pid; read line")
		c.Dir = dir
		in, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		c.start()
		pid := pidIn(t, filepath.Join(dir, "pid"))
		_ = in.Close()
		for isAlive(pid) {
			time.Sleep(500 * time.Microsecond)
		}
		ended := time.Now()
		for len(members(t, client, "quick")) > 0 {
			if time.Since(ended) > time.Second {
				t.Fatal("the permit is not free")
			}
			time.Sleep(500 * time.Microsecond) // the program under test needs the processor, too
		}
		t.Logf("free after %v", time.Since(ended))
		c.mustExit(1)
	}
}

func TestThePermitWaitsForWhatTheCommandLeavesBehind(t *testing.T) {
	for _, tc := range []struct {
		leftover string
		stays    bool
	}{{"wait", true}, {"kill", false}} {
		t.Run(tc.leftover, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			c := passbuddy(t, server, "run", "job", "--capacity", "1", "--leftover", tc.leftover, "--", "sh", "-c", "setsid sleep 1000 & echo $! > pid; exit 5")
			c.Dir = t.TempDir()
			c.start()
			pid := pidIn(t, filepath.Join(c.Dir, "pid"))
			if tc.stays {
				redistest.Eventually(t, "it says for whom the permit waits", func(context.Context) error {
					if said := c.said(); !strings.Contains(said, fmt.Sprintf("%d (sleep)", pid)) {
						return errors.New(said)
					}
					return nil
				})
				if len(members(t, server.Client(t), "job")) != 1 {
					t.Error("the permit is free while a process of the command goes on")
				}
				_ = syscall.Kill(pid, syscall.SIGTERM)
			}
			c.mustExit(5)
			if isAlive(pid) {
				t.Error("it goes on")
			}
			redistest.Eventually(t, "the permit is free", heldBy(server, "job", 0))
		})
	}
}

func TestMaxHoldStopsTheCommand(t *testing.T) {
	server := redistest.Start(t)
	c := passbuddy(t, server, "run", "job", "--capacity", "1", "--max-hold", "300ms", "--", "sleep", "1000").start()
	c.mustExit(124)
	redistest.Eventually(t, "the permit is free", heldBy(server, "job", 0))
}

func TestMinHoldKeepsThePermit(t *testing.T) {
	server := redistest.Start(t)
	began := time.Now()
	passbuddy(t, server, "run", "job", "--capacity", "1", "--min-hold", "500ms", "--", "true").start().mustExit(0)
	if took := time.Since(began); took < 500*time.Millisecond {
		t.Errorf("it was held for less than %v", took)
	}
	redistest.Eventually(t, "the permit is free", heldBy(server, "job", 0))
}

func TestWhoWaitsAndIsInterruptedLeavesTheQueue(t *testing.T) {
	server := redistest.Start(t)
	client := server.Client(t)
	passbuddy(t, server, "run", "job", "--capacity", "1", "--", "sleep", "1000").start()
	redistest.Eventually(t, "it is held", heldBy(server, "job", 1))
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		waiting := passbuddy(t, server, "run", "job", "--capacity", "1", "--", "true").start()
		inQueue := func(n int64) func(context.Context) error {
			return func(ctx context.Context) error {
				got, err := client.ZCard(ctx, "{passbuddy-job}:queue").Result()
				if err == nil && got != n {
					err = fmt.Errorf("%d wait", got)
				}
				return err
			}
		}
		redistest.Eventually(t, "it waits", inQueue(1))
		_ = waiting.Process.Signal(s)
		asked := time.Now()
		waiting.mustExit(128 + int(s))
		if took := time.Since(asked); took > 100*time.Millisecond {
			t.Logf("%v: it ended after %v", s, took)
		}
		redistest.Eventually(t, "it is out of the queue", inQueue(0))
	}
}

func TestSignalsReachTheCommand(t *testing.T) {
	server := redistest.Start(t)
	for _, s := range []string{"TERM", "INT", "HUP", "QUIT", "USR1", "USR2"} {
		t.Run(s, func(t *testing.T) {
			t.Parallel()
			c := passbuddy(t, server, "run", "job-"+s, "--capacity", "1", "--", "sh", "-c", "trap 'echo "+s+"; exit 7' "+s+"; echo $$ > pid; while :; do sleep 0.01; done")
			c.Dir = t.TempDir()
			c.start()
			pidIn(t, filepath.Join(c.Dir, "pid"))
			n := map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "QUIT": syscall.SIGQUIT, "USR1": syscall.SIGUSR1, "USR2": syscall.SIGUSR2}[s]
			_ = c.Process.Signal(n)
			c.mustExit(7)
			if got := strings.TrimSpace(c.out.String()); got != s {
				t.Errorf("the command got %q", got)
			}
		})
	}
}

func TestASecondInterruptKills(t *testing.T) {
	server := redistest.Start(t)
	j := startJob(t, server, "job")
	_ = j.Process.Signal(syscall.SIGINT)
	time.Sleep(50 * time.Millisecond) // two that come at once are one
	_ = j.Process.Signal(syscall.SIGINT)
	j.gone()
	j.mustExit(128 + 9)
}
