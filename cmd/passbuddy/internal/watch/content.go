package watch

import (
	"fmt"
	"strings"
	"time"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/show"
	"github.com/eqworks/passbuddy/internal/view"
)

// Content draws the view: as many lines as the terminal has, none longer than it is wide.
func (m Model) Content() string {
	top := append([]string{m.heading()}, m.status()...)
	bottom := m.footer()
	height := max(0, m.height-len(top)-len(bottom))
	var body []string
	switch {
	case m.helps:
		body = m.help()
	case m.open != "":
		body = m.opened(height)
	default:
		body = m.list(height)
	}
	body = body[:min(len(body), height)]
	for len(body) < height {
		body = append(body, "")
	}
	lines := append(append(top, body...), bottom...)
	lines = lines[:min(len(lines), m.height)]
	for i := range lines {
		lines[i] = ansi.Truncate(lines[i], m.width, "…")
	}
	return strings.Join(lines, "\n")
}

// heading says what is watched, and in which order.
func (m Model) heading() string {
	left, right := bold.Render(m.title), ""
	if m.open == "" {
		right = grey.Render("by " + show.Orders[m.order])
	}
	if where := grey.Render("  " + show.Line(m.where)); m.where != "" && ansi.StringWidth(left+where+right) < m.width {
		left += where
	}
	return spread(left, right, m.width)
}

// spread puts two texts at the two ends of a line.
func spread(left, right string, width int) string {
	space := width - ansi.StringWidth(left) - ansi.StringWidth(right)
	if right == "" || space < 1 {
		return left
	}
	return left + strings.Repeat(" ", space) + right
}

// status says whether what is shown is the present.
func (m Model) status() []string {
	if !m.isStale() {
		return []string{""}
	}
	why := "no answer yet"
	if m.trouble != nil {
		why = show.Line(m.trouble.Error())
	}
	return m.wrapped(fmt.Sprintf("last seen %s ago: %s", view.Brief(m.now.Sub(m.seen).Round(time.Second)), why), red)
}

// footer is what was done last or is asked, and the keys.
func (m Model) footer() []string {
	if m.asks != nil {
		question, keys := m.asks.text()
		return append(m.wrapped(question, bold), m.keys(keys))
	}
	var lines []string
	if m.said != "" {
		style := green
		if m.failed {
			style = red
		}
		lines = m.wrapped(m.said, style)
	}
	switch {
	case m.typing:
		return append(lines, "/"+show.Line(m.filter)+"▁  "+grey.Render("enter keep  esc all"))
	case m.helps:
		return append(lines, m.keys("any key back"))
	case m.open != "":
		return append(lines, m.keys("esc back  ↑↓ choose  x revoke  p pause  r resume  + resize  ? help  q quit"))
	case m.filter != "":
		return append(lines, m.keys("esc all  ↑↓ choose  enter open  p pause  r resume  + resize  ? help  q quit"))
	}
	return append(lines, m.keys("? help  q quit  ↑↓ choose  enter open  / filter  s sort  p pause  r resume  + resize"))
}

// wrapped breaks a text into lines, four at most.
func (m Model) wrapped(s string, style lipgloss.Style) []string {
	lines := strings.Split(ansi.Wrap(s, max(m.width, 10), ""), "\n")
	lines = lines[:min(len(lines), 4)]
	for i := range lines {
		lines[i] = style.Render(lines[i])
	}
	return lines
}

// keys shows as many of the keys as fit; two spaces stand between them, and one after a key's name.
func (m Model) keys(all string) string {
	var b strings.Builder
	width := 0
	for _, one := range strings.Split(all, "  ") {
		if width += ansi.StringWidth(one) + 2; width-2 > m.width {
			break
		}
		if b.Len() > 0 {
			b.WriteString("  ")
		}
		split := strings.LastIndex(one, " ")
		if first := strings.Index(one, " "); !strings.HasPrefix(one, "+ -") {
			split = first
		}
		b.WriteString(cyan.Render(one[:split]) + grey.Render(one[split:]))
	}
	return b.String()
}

var helpLines = [][2]string{
	{"↑ ↓ j k", "choose; also page up and down"},
	{"enter, esc", "open a semaphore, go back"},
	{"/", "show names with a text in them"},
	{"s", "sort by name, held, wait, expiry"},
	{"p, r", "pause and resume, asked first"},
	{"+ - z", "set the capacity, asked first"},
	{"x", "take the chosen holder's permit away, asked first"},
	{"q", "quit"},
	{"", ""},
	{"HELD", "permits taken, of how many"},
	{"WAIT", "callers in all processes"},
	{"OLDEST", "the wait of the first in the queue"},
	{"EXPIRES", "when the next permit is free, unless renewed"},
	{"over", "more is held than the capacity"},
	{"stuck", "permits are free, somebody waits"},
}

func (m Model) help() []string {
	var lines []string
	for _, l := range helpLines {
		text := strings.Split(ansi.Wrap(l[1], max(m.width-12, 10), ""), "\n")
		for i, part := range text {
			key := ""
			if i == 0 {
				key = l[0]
			}
			lines = append(lines, strings.TrimRight(cyan.Render(key)+strings.Repeat(" ", 12-ansi.StringWidth(key))+part, " "))
		}
	}
	return lines
}
