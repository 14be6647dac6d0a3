package watch

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/creack/pty"
	"golang.org/x/term"
)

// A view that panics when it has been drawn: the test binary runs itself again with it.
type broken struct{ tea.Model }

func (b broken) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	if _, is := msg.(ticked); is {
		panic("broken")
	}
	return b, nil
}

func TestMain(m *testing.M) {
	if os.Getenv("PASSBUDDY_BROKEN_VIEW") != "" {
		model, err := New(context.Background(), Config{Fleet: aFleet(), Timeout: time.Second})
		if err == nil {
			err = Show(context.Background(), broken{model.Program()}, Terminal{In: os.Stdin, Out: os.Stdout})
		}
		if !errors.Is(err, tea.ErrProgramPanic) {
			os.Exit(1)
		}
		os.Exit(42)
	}
	os.Exit(m.Run())
}

func TestAViewThatPanicsGivesTheTerminalBack(t *testing.T) {
	screen, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer screen.Close()
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	self := exec.CommandContext(t.Context(), os.Args[0])
	self.Env = append(os.Environ(), "PASSBUDDY_BROKEN_VIEW=yes", "TERM=xterm-256color")
	self.Stdin, self.Stdout, self.Stderr = tty, tty, tty
	shown := make(chan string)
	go func() {
		b, _ := io.ReadAll(screen) // ends with an error when nobody has the terminal open
		shown <- string(b)
	}()
	err = self.Run()
	if code := self.ProcessState.ExitCode(); code != 42 {
		t.Errorf("exit %d: %v", code, err)
	}
	after, err := term.GetState(int(tty.Fd()))
	if err != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("%v: the terminal was %v, and is %v", err, before, after)
	}
	_ = tty.Close()
	if text := <-shown; !strings.Contains(text, "\x1b[?1049h") || strings.LastIndex(text, "\x1b[?1049h") > strings.LastIndex(text, "\x1b[?1049l") || !strings.Contains(text, "\x1b[?25h") {
		t.Errorf("the other screen is still shown, or no cursor: %q", text)
	}
}
