package demo

import (
	"context"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/watch"
)

// Show plays the demo on a terminal, until somebody ends it: the live view of watch, and below it what has happened last.
func Show(ctx context.Context, d *Demo, t watch.Terminal) error {
	ctx, end := context.WithCancel(ctx)
	var playing sync.WaitGroup
	defer playing.Wait()
	defer end()
	live, err := watch.New(ctx, watch.Config{Fleet: d.Operator, Patterns: []string{gpu, report}, Timeout: 5 * time.Second, Title: "passbuddy demo", Where: "a Redis inside this program"})
	if err != nil {
		return err
	}
	playing.Go(func() {
		if err := d.Play(ctx, true); err != nil && ctx.Err() == nil {
			d.explain("The demo has failed: %v", err)
		}
	})
	return watch.Show(ctx, screen{ctx: ctx, demo: d, live: live, began: d.Began, width: 80, height: 24}, t)
}

// A screen is the live view with events below it.
type screen struct {
	ctx           context.Context
	demo          *Demo
	began         time.Time
	live          watch.Model
	events        []Event
	width, height int
}

// Init begins to wait for events.
func (s screen) Init() tea.Cmd { return tea.Batch(s.live.Init(), s.wait) }

// wait is the command that waits for the next event.
func (s screen) wait() tea.Msg {
	e, ok := s.demo.Next(s.ctx, len(s.events))
	if !ok {
		return nil
	}
	return e
}

// Update keeps events; all else is the live view's.
func (s screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	var cmd tea.Cmd
	switch msg := msg.(type) {
	case Event:
		s.events = append(s.events, msg)
		return s, s.wait
	case tea.WindowSizeMsg:
		s.width, s.height = msg.Width, msg.Height
		s.live, cmd = s.live.Update(tea.WindowSizeMsg{Width: msg.Width, Height: s.upper()})
		return s, cmd
	}
	s.live, cmd = s.live.Update(msg)
	return s, cmd
}

// upper is the height of the live view: what two semaphores need, or a third of a tall screen.
func (s screen) upper() int { return min(max(8, s.height/3), s.height) }

// View draws both.
func (s screen) View() tea.View {
	lines := []string{s.live.Content(), grey.Render(strings.Repeat("─", s.width))}
	v := tea.NewView(strings.Join(append(lines, s.last(s.height-s.upper()-1)...), "\n"))
	v.AltScreen = true
	return v
}

var (
	grey    = lipgloss.NewStyle().Foreground(lipgloss.BrightBlack)
	bold    = lipgloss.NewStyle().Bold(true)
	colours = map[Kind]lipgloss.Style{
		Got: lipgloss.NewStyle().Foreground(lipgloss.Green), Crashed: alarm, Stalled: alarm, Stopped: alarm,
		Paused: action, Resumed: action, Revoked: action, Scene: bold,
	}
	alarm  = lipgloss.NewStyle().Foreground(lipgloss.Red)
	action = lipgloss.NewStyle().Foreground(lipgloss.Cyan)
)

// last are the last events, broken into lines that fit; the newest is at the bottom.
func (s screen) last(height int) []string {
	var lines []string
	const indent = 8
	for i := len(s.events) - 1; i >= 0 && len(lines) < height; i-- {
		e := s.events[i]
		line := e.Line(s.began)
		text := strings.Split(ansi.Wrap(line[indent:], max(s.width-indent, 20), ""), "\n")
		for j := range text {
			before := strings.Repeat(" ", indent)
			if j == 0 {
				before = grey.Render(line[:indent])
			}
			text[j] = before + colours[e.Kind].Render(strings.TrimSpace(text[j]))
		}
		lines = append(text, lines...)
	}
	lines = lines[max(0, len(lines)-max(height, 0)):]
	return lines
}
