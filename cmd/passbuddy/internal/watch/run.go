package watch

import (
	"context"
	"errors"
	"io"
	"os/signal"
	"syscall"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"
)

// ErrInterrupted is the error of a view that ^C has ended.
var ErrInterrupted = errors.New("interrupted")

// ErrHangup is the error of a view whose terminal has gone.
var ErrHangup = errors.New("the terminal has gone")

// A Terminal is where a view is drawn.
type Terminal struct {
	In     io.Reader // nil: the terminal that the process belongs to
	Out    io.Writer
	Colour bool
}

// Show draws a view until it quits or ctx ends, and gives the terminal back as it was: also after a hang-up, or when the
// view panics. It returns the error of ctx where that has ended.
func Show(ctx context.Context, view tea.Model, t Terminal) error {
	hangup, stop := ctx, func() {}
	if !signal.Ignored(syscall.SIGHUP) { // not under nohup
		hangup, stop = signal.NotifyContext(ctx, syscall.SIGHUP)
	}
	defer stop()
	options := []tea.ProgramOption{tea.WithContext(hangup), tea.WithOutput(t.Out), tea.WithoutSignalHandler()}
	if t.In != nil {
		options = append(options, tea.WithInput(t.In))
	}
	if !t.Colour {
		options = append(options, tea.WithColorProfile(colorprofile.ASCII))
	}
	_, err := tea.NewProgram(view, options...).Run()
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case hangup.Err() != nil:
		return ErrHangup
	case errors.Is(err, tea.ErrInterrupted):
		return ErrInterrupted
	}
	return err
}

// Program is the view as bubbletea runs it: on a screen of its own, which the terminal forgets at the end.
func (m Model) Program() tea.Model { return program{m} }

type program struct{ Model }

func (p program) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	m, cmd := p.Model.Update(msg)
	return program{m}, cmd
}

func (p program) View() tea.View {
	v := tea.NewView(p.Content())
	v.AltScreen = true
	return v
}
