package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/eqworks/passbuddy/internal/redistest"
)

// A screen is a terminal with an interactive shell.
type screen struct {
	t     *testing.T
	tty   *os.File
	shown buffer
	shell *exec.Cmd
	dir   string
}

// openScreen starts a shell with job control, in which pb is the program.
func openScreen(t *testing.T, server *redistest.Server) *screen {
	t.Helper()
	needs(t, "bash", "it is the shell that has job control")
	s := &screen{t: t, dir: t.TempDir()}
	if err := os.Symlink(binary, filepath.Join(s.dir, "pb")); err != nil {
		t.Fatal(err)
	}
	s.shell = exec.Command("bash", "--norc", "--noprofile", "-i")
	s.shell.Dir = s.dir
	s.shell.Env = append(os.Environ(), "PS1=$ ", "TERM=dumb", "HISTFILE=", "PATH="+s.dir+":"+os.Getenv("PATH"), "REDIS_URL=redis://"+server.Addr())
	var err error
	if s.tty, err = pty.StartWithSize(s.shell, &pty.Winsize{Rows: 24, Cols: 100}); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(&s.shown, s.tty) }()
	t.Cleanup(func() {
		_ = s.shell.Process.Kill()
		_ = s.shell.Wait()
		_ = s.tty.Close()
	})
	return s
}

func (s *screen) typed(keys string) {
	s.t.Helper()
	if _, err := s.tty.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// sees waits until the terminal shows the text.
func (s *screen) sees(text string) {
	s.t.Helper()
	redistest.Eventually(s.t, fmt.Sprintf("the terminal shows %q", text), func(context.Context) error {
		if shown := s.shown.String(); !strings.Contains(shown, text) {
			return errors.New(shown)
		}
		return nil
	})
}

// begins types a line, and waits until its command is in the foreground.
func (s *screen) begins(line, name string) (pid int) {
	s.t.Helper()
	s.typed(line + "\n")
	return s.awaitForeground(name)
}

const (
	ctrlC = "\x03"
	ctrlZ = "\x1a"
)

func TestControlCEndsTheCommand(t *testing.T) {
	server := redistest.Start(t)
	s := openScreen(t, server)
	s.begins("pb run job --capacity 1 -- sleep 1000", "sleep")
	s.typed(ctrlC)
	s.typed("echo code $?\n")
	s.sees("code 130")
	redistest.Eventually(t, "the permit is free", heldBy(server, "job", 0))
}

// awaitForeground waits until the process is in the terminal's foreground.
func (s *screen) awaitForeground(name string) (pid int) {
	s.t.Helper()
	redistest.Eventually(s.t, name+" is in the foreground", func(context.Context) error {
		stats, _ := filepath.Glob("/proc/[0-9]*/stat")
		for _, file := range stats {
			b, err := os.ReadFile(file)
			if err != nil || !strings.Contains(string(b), "("+name+")") {
				continue
			}
			_, rest, _ := strings.Cut(string(b), ") ")
			var state string
			var parent, group, session, tty, foreground int
			_, _ = fmt.Sscan(rest, &state, &parent, &group, &session, &tty, &foreground)
			if session == s.shell.Process.Pid && group == foreground && state != "T" {
				_, _ = fmt.Sscan(string(b), &pid)
				return nil
			}
		}
		return errors.New(s.shown.String())
	})
	return pid
}

func TestAStoppedJobGoesOnInTheForegroundAndInTheBackground(t *testing.T) {
	server := redistest.Start(t)
	s := openScreen(t, server)
	pid := s.begins("pb run job --capacity 1 --ttl 1s -- sleep 1000", "sleep")
	s.typed(ctrlZ)
	s.sees("Stopped")
	if !isStopped(pid) {
		t.Error("the command is not stopped")
	}
	time.Sleep(1500 * time.Millisecond) // longer than the TTL
	if n := len(members(t, server.Client(t), "job")); n != 1 {
		t.Errorf("%d permits are held while the job is stopped", n)
	}
	s.typed("bg\n")
	redistest.Eventually(t, "it goes on in the background", func(context.Context) error {
		if isStopped(pid) {
			return errors.New("it is stopped")
		}
		return nil
	})
	s.typed("echo shell is here\n")
	s.sees("\nshell is here")
	s.typed("fg\n")
	s.sees("fg\r\npb run job --capacity 1 --ttl 1s -- sleep 1000\r\n")
	s.typed(ctrlZ)
	redistest.Eventually(t, "it is stopped again", func(context.Context) error {
		if !isStopped(pid) {
			return errors.New("it runs")
		}
		return nil
	})
	s.sees("sleep 1000\r\n^Z\r\n[1]+  Stopped                 pb run job --capacity 1 --ttl 1s -- sleep 1000\r\n$ ")
	s.typed("fg\n")
	s.awaitForeground("sleep")
	s.typed(ctrlC)
	s.typed("echo code $?\n")
	s.sees("code 130")
	redistest.Eventually(t, "the permit is free", heldBy(server, "job", 0))
}

func isStopped(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, rest, _ := strings.Cut(string(stat), ") ")
	return err == nil && strings.HasPrefix(rest, "T")
}

func TestAJobThatLosesItsLeaseWhileItIsStoppedIsKilled(t *testing.T) {
	server := redistest.Start(t)
	s := openScreen(t, server)
	pid := s.begins("pb run job --capacity 1 --ttl 1s -- sleep 1000", "sleep")
	s.typed(ctrlZ)
	s.sees("Stopped")
	server.Pause()
	redistest.Eventually(t, "the command is gone", func(context.Context) error {
		if isAlive(pid) {
			return errors.New("it is alive")
		}
		return nil
	})
	server.Resume()
	s.typed("fg\n")
	s.typed("echo code $?\n")
	s.sees("code 79")
}

func TestTheCommandReadsFromTheTerminal(t *testing.T) {
	server := redistest.Start(t)
	s := openScreen(t, server)
	s.begins("pb run job --capacity 1 -- sh -c 'read line; echo got $line'", "sh")
	s.typed("a line\n")
	s.sees("got a line")
	s.typed("echo code $?\n")
	s.sees("code 0")
}

func TestAPipelineKeepsItsGroup(t *testing.T) {
	server := redistest.Start(t)
	s := openScreen(t, server)
	s.begins("pb run job --capacity 1 -- sleep 1000 | cat", "sleep")
	s.typed(ctrlC)
	s.typed("echo code ${PIPESTATUS[0]}\n")
	s.sees("code 130")
	redistest.Eventually(t, "the permit is free", heldBy(server, "job", 0))
}

func TestTheWaitIsShownOnTheTerminal(t *testing.T) {
	server := redistest.Start(t)
	passbuddy(t, server, "run", "job", "--capacity", "1", "--label", "train", "--", "sleep", "1000").start()
	redistest.Eventually(t, "it is held", heldBy(server, "job", 1))
	s := openScreen(t, server)
	s.typed("pb run job --capacity 1 -- true\n")
	s.sees("job: place 1 of 1, 1 of 1 held, longest ")
	s.sees("'train' for ")
	s.typed(ctrlC)
	s.typed("echo code $?\n")
	s.sees("code 130")
}
