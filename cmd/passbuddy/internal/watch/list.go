package watch

import (
	"fmt"
	"strings"

	"charm.land/lipgloss/v2"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/show"
	"github.com/eqworks/passbuddy/internal/view"
)

// list draws the semaphores: a heading, and the rows around the cursor.
func (m Model) list(height int) []string {
	rows := m.rows()
	if len(rows) == 0 {
		if m.filter != "" {
			return []string{fmt.Sprintf("no name contains %q", m.filter)}
		}
		return []string{"no semaphore has been used within a day", "(looks again each minute)"}
	}
	columns := []column{
		{title: "", min: 0}, {title: "NAME", min: 8}, {title: "PERMITS", drop: 2}, {title: "HELD", right: true},
		{title: "WAIT", right: true}, {title: "OLDEST", drop: 3, right: true}, {title: "EXPIRES", drop: 4, right: true}, {title: "STATE", min: 7},
	}
	at := m.at(rows)
	first, last := window(at, len(rows), height-1)
	cells := make([][]text, 0, last-first)
	for i, v := range rows[first:last] {
		cells = append(cells, m.row(v, first+i == at))
	}
	g := newGrid(m.width, columns, cells)
	lines := []string{g.header()}
	for _, row := range cells {
		lines = append(lines, g.line(row, m.faded()))
	}
	return lines
}

// faded is the style of all that is no longer the present; nil: it is.
func (m Model) faded() *lipgloss.Style {
	if m.isStale() {
		return &grey
	}
	return nil
}

// window is the part of n rows that fits a height, with the row at in it.
func window(at, n, height int) (first, last int) {
	height = max(height, 1)
	first = max(0, min(at-height/2, n-height))
	return first, min(n, first+height)
}

func (m Model) row(v view.Semaphore, isCurrent bool) []text {
	mark, name := text{" ", plain}, text{show.Line(v.Name), plain}
	if isCurrent {
		mark, name.style = text{"▸", cyan}, bold
	}
	if v.Error != "" {
		none := text{"-", grey}
		return []text{mark, name, none, none, none, none, none, {show.Line(v.Error), red}}
	}
	waiting := text{fmt.Sprint(v.Waiting), grey}
	if v.Waiting > 0 {
		waiting.style = yellow
	}
	return []text{
		mark, name, bar(v, m.barWidth()), {fmt.Sprintf("%d/%d", v.Held, v.Capacity), plain}, waiting,
		{show.Seconds(v.Oldest), plain}, {show.Expiry(v), plain}, m.state(v),
	}
}

func (m Model) barWidth() int {
	switch {
	case m.width < 60:
		return 6
	case m.width < 100:
		return 12
	}
	return 24
}

// bar draws the permits that are held and those that are free: a cell for each, if so many fit, otherwise their share.
func bar(v view.Semaphore, width int) text {
	total := max(v.Capacity, v.Held)
	if v.State == view.Paused {
		total = max(v.Declared, v.Held) // what there will be again
	}
	held := v.Held
	if total > width {
		held = (held*width + total/2) / total
		if v.Held > 0 {
			held = max(held, 1)
		}
		if v.Held < total {
			held = min(held, width-1)
		}
		total = width
	}
	style := green
	switch {
	case v.State == view.Over:
		style = red
	case v.Waiting > 0 || v.State == view.Paused:
		style = yellow
	}
	return text{strings.Repeat("■", held) + strings.Repeat("□", total-held), style}
}

func (m Model) state(v view.Semaphore) text {
	style := map[string]lipgloss.Style{
		view.OK: green, view.Paused: yellow, view.Resized: cyan, view.Over: red, view.Stuck: red, view.Failed: red,
	}[v.State]
	switch {
	case !v.Known:
		return text{"unused", grey}
	case m.width < 60:
		return text{v.State, style} // the name needs the room
	}
	return text{v.StateText(), style}
}
