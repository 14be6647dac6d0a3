package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/show"
	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/internal/view"
	"github.com/eqworks/passbuddy/lease"
)

// A liveView is the program with a terminal of its own.
type liveView struct {
	*call
	screen, tty *os.File
	shown       buffer
	before      *term.State
}

func openView(t *testing.T, server *redistest.Server, args ...string) *liveView {
	t.Helper()
	screen, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	_ = pty.Setsize(screen, &pty.Winsize{Rows: 24, Cols: 100})
	v := &liveView{call: passbuddy(t, server, args...), screen: screen, tty: tty}
	if v.before, err = term.GetState(int(tty.Fd())); err != nil {
		t.Fatal(err)
	}
	v.Env = append(v.Env, "TERM=xterm-256color", "NO_COLOR=")
	v.Stdin, v.Stdout = tty, tty
	v.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	go func() { _, _ = io.Copy(&v.shown, screen) }()
	v.start()
	t.Cleanup(func() { _, _ = tty.Close(), screen.Close() })
	return v
}

func (v *liveView) typed(keys string) {
	v.t.Helper()
	if _, err := v.screen.WriteString(keys); err != nil {
		v.t.Fatal(err)
	}
}

func (v *liveView) sees(text string) {
	v.t.Helper()
	redistest.Eventually(v.t, fmt.Sprintf("the view shows %q", text), func(context.Context) error {
		if shown := v.shown.String(); !strings.Contains(shown, text) {
			return fmt.Errorf("%q", shown)
		}
		return nil
	})
}

// mustRestore waits for the end, and compares the terminal with what it was.
func (v *liveView) mustRestore(code int) {
	v.t.Helper()
	v.mustExit(code)
	after, err := term.GetState(int(v.tty.Fd()))
	if err != nil || !reflect.DeepEqual(v.before, after) {
		v.t.Errorf("%v: the terminal was %v, and is %v", err, v.before, after)
	}
	redistest.Eventually(v.t, "the terminal shows its own screen again, and a cursor", func(context.Context) error {
		shown := v.shown.String()
		for _, s := range []struct{ on, off string }{{"\x1b[?1049h", "\x1b[?1049l"}, {"\x1b[?25l", "\x1b[?25h"}, {"\x1b[?2004h", "\x1b[?2004l"}} {
			if strings.LastIndex(shown, s.on) >= strings.LastIndex(shown, s.off) {
				return fmt.Errorf("%q", shown)
			}
		}
		return nil
	})
	if v.said() != "" {
		v.t.Errorf("it said %q", v.said())
	}
}

func TestWatchGivesTheTerminalBack(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*liveView, *redistest.Server)
		code int
	}{
		{"q", func(v *liveView, _ *redistest.Server) { v.typed("q") }, 0},
		{"control C", func(v *liveView, _ *redistest.Server) { v.typed(ctrlC) }, 130},
		{"SIGTERM", func(v *liveView, _ *redistest.Server) { _ = v.Process.Signal(syscall.SIGTERM) }, 130},
		{"SIGHUP", func(v *liveView, _ *redistest.Server) { _ = v.Process.Signal(syscall.SIGHUP) }, 129},
		{"while Redis is away", func(v *liveView, server *redistest.Server) {
			server.Pause()
			v.sees("last seen")
			v.typed("q")
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := redistest.Start(t)
			hold(t, semaphore(t, server, lease.Config{Name: "gpu", Capacity: 2}))
			v := openView(t, server, "watch", "--timeout", "1s")
			v.sees("gpu")
			v.sees("\x1b[32m") // green
			c.end(v, server)
			v.mustRestore(c.code)
		})
	}
}

func TestWatchGoesOnWhenRedisIsBack(t *testing.T) {
	server := redistest.Start(t)
	s := semaphore(t, server, lease.Config{Name: "gpu", Capacity: 2})
	hold(t, s)
	v := openView(t, server, "watch", "--timeout", "1s", "--no-color")
	v.sees("1/2")
	server.Pause()
	v.sees("last seen")
	server.Resume()
	hold(t, s)
	v.sees("2/2")
	v.typed("q")
	v.mustRestore(0)
	if strings.Contains(v.shown.String(), "\x1b[32m") {
		t.Error("--no-color shows green")
	}
}

func TestAnOperatorActsInTheView(t *testing.T) {
	server := redistest.Start(t)
	l := hold(t, semaphore(t, server, lease.Config{Name: "gpu", Capacity: 2}), lease.Label("train"))
	v := openView(t, server, "watch", "gpu")
	v.sees("1/2")
	v.typed("\r")
	v.sees("train")
	v.typed("x")
	v.sees("Take the permit " + l.ID()[:18])
	v.typed("y")
	<-l.Held().Done()
	if !errors.Is(l.Err(), lease.ErrLost) {
		t.Error(l.Err())
	}
	v.sees("took the permit " + l.ID()[:18])
	v.typed("q")
	v.mustRestore(0)
}

func TestWatchNeedsATerminal(t *testing.T) {
	server := redistest.Start(t)
	calls(server, "watch").must(t, 64, "", "standard output is no terminal: use passbuddy ls --watch")
	screen, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer screen.Close()
	defer tty.Close()
	dumb := passbuddy(t, server, "watch")
	dumb.Env = append(dumb.Env, "TERM=dumb")
	dumb.Stdout = tty
	dumb.start().mustExit(64)
	if !strings.Contains(dumb.said(), "TERM is dumb") {
		t.Error(dumb.said())
	}
	away := passbuddy(t, nil, "watch", "--url", "redis://127.0.0.1:1")
	away.Env = append(away.Env, "TERM=xterm")
	away.Stdout = tty
	away.start().mustExit(69)
}

func TestLsAndInspectPrintAgainWhenSomethingHasChanged(t *testing.T) {
	server := redistest.Start(t)
	s := semaphore(t, server, lease.Config{Name: "gpu", Capacity: 3, TTL: time.Minute})
	hold(t, s)
	ls := passbuddy(t, server, "ls", "--watch", "--timeout", "1s").start()
	lines := passbuddy(t, server, "ls", "--watch", "--json").start()
	inspect := passbuddy(t, server, "inspect", "gpu", "--watch").start()
	shows := func(c *call, text string) {
		t.Helper()
		redistest.Eventually(t, fmt.Sprintf("%v shows %q", c.Args[1:], text), func(context.Context) error {
			if !strings.Contains(c.out.String(), text) {
				return errors.New(c.out.String())
			}
			return nil
		})
	}
	shows(ls, "gpu   3    1     0")
	shows(lines, `"held":1`)
	shows(inspect, "gpu: 1 of 3 held")
	hold(t, s)
	shows(ls, "\n\nNAME")
	shows(ls, "gpu   3    2     0")
	shows(lines, `"held":2`)
	shows(inspect, "\n\ngpu: 2 of 3 held")

	server.Pause()
	redistest.Eventually(t, "it says that Redis is away", func(context.Context) error {
		if !strings.Contains(ls.said(), "it goes on by itself") {
			return errors.New(ls.said())
		}
		return nil
	})
	server.Resume()
	redistest.Eventually(t, "it says that Redis is back", func(context.Context) error {
		if !strings.Contains(ls.said(), "Redis answers again") {
			return errors.New(ls.said())
		}
		return nil
	})
	hold(t, s)
	shows(ls, "gpu   3    3     0")
	shows(lines, `"held":3`)
	shows(inspect, "gpu: 3 of 3 held")
	if n := strings.Count(ls.said(), "\n"); n != 2 {
		t.Errorf("it said\n%s", ls.said())
	}
	for _, c := range []*call{ls, lines, inspect} {
		_ = c.Process.Signal(os.Interrupt)
		c.mustExit(130)
	}
	if n := strings.Count(ls.out.String(), "NAME"); n != 3 {
		t.Errorf("three changes, and %d tables:\n%s", n, ls.out.String())
	}
	if n := strings.Count(lines.out.String(), "\n"); n != 3 || strings.Count(lines.out.String(), `{"schema":1,`) != 3 {
		t.Errorf("three changes, and %d lines:\n%s", n, lines.out.String())
	}
}

func TestARenewalIsNoChange(t *testing.T) {
	server := redistest.Start(t)
	m := manager(t, server)
	s := semaphore(t, server, lease.Config{Name: "gpu", Capacity: 3, TTL: 600 * time.Millisecond})
	hold(t, s)
	looker, err := show.NewLooker(m)
	if err != nil {
		t.Fatal(err)
	}
	p := &program{timeout: time.Minute, quiet: true}
	l := &list{program: p, looker: looker, order: "name"}
	look := func() (list, one picture, d view.Detail) {
		list, err := l.look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		state, d, err := p.inspected(t.Context(), m, "gpu", false)
		if err != nil {
			t.Fatal(err)
		}
		return list, picture{same: facts(state)}, d
	}
	list1, one1, d1 := look()
	var list2, one2 picture
	redistest.Eventually(t, "it is renewed", func(context.Context) error {
		var d2 view.Detail
		if list2, one2, d2 = look(); d2.Expires.Equal(*d1.Expires) {
			return errors.New("not yet")
		}
		return nil
	})
	if !reflect.DeepEqual(list1.same, list2.same) || !reflect.DeepEqual(one1.same, one2.same) {
		t.Errorf("a renewal counts as a change: %v, then %v; %v, then %v", list1.same, list2.same, one1.same, one2.same)
	}
}

func TestWatchEndsWhenNobodyReads(t *testing.T) {
	server := redistest.Start(t)
	hold(t, semaphore(t, server, lease.Config{Name: "gpu", Capacity: 3}))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := passbuddy(t, server, "ls", "--watch", "--json")
	c.Stdout = w
	c.start()
	_ = w.Close()
	if n, err := r.Read(make([]byte, 1000)); n == 0 {
		t.Fatal(err)
	}
	_ = r.Close()
	c.mustExit(0)
	if c.said() != "" {
		t.Error(c.said())
	}
}
