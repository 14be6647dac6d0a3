package watch

import (
	"strings"

	"charm.land/lipgloss/v2"
	"github.com/charmbracelet/x/ansi"
)

// The colours are the terminal's own sixteen, so that they fit its background.
var (
	plain  = lipgloss.NewStyle()
	bold   = plain.Bold(true)
	grey   = plain.Foreground(lipgloss.BrightBlack)
	green  = plain.Foreground(lipgloss.Green)
	yellow = plain.Foreground(lipgloss.Yellow)
	cyan   = plain.Foreground(lipgloss.Cyan)
	red    = plain.Foreground(lipgloss.Red)
)

// A text has a style. Its bytes are printable.
type text struct {
	string
	style lipgloss.Style
}

// A column of a grid.
type column struct {
	title string
	min   int // to which width it may shrink; 0: it may not
	drop  int // where the width does not suffice, the column with the largest one is left out first; 0: it stays
	right bool
}

// A grid is a table of which each line fits a width.
type grid struct {
	columns []column
	widths  []int // -1: left out
	gap     string
}

// newGrid finds the widths for rows, of which each has a text for each column.
func newGrid(width int, columns []column, rows [][]text) grid {
	g := grid{columns: columns, widths: make([]int, len(columns)), gap: "  "}
	if width < 60 {
		g.gap = " "
	}
	for i, c := range columns {
		g.widths[i] = ansi.StringWidth(c.title)
		for _, row := range rows {
			g.widths[i] = max(g.widths[i], ansi.StringWidth(row[i].string))
		}
	}
	for g.least() > width {
		last := -1
		for i, c := range columns {
			if g.widths[i] >= 0 && c.drop > 0 && (last < 0 || c.drop > columns[last].drop) {
				last = i
			}
		}
		if last < 0 {
			break
		}
		g.widths[last] = -1
	}
	for over := g.total(g.widths) - width; over > 0; over-- { // the widest shrinks first
		widest := -1
		for i, c := range columns {
			if c.min > 0 && g.widths[i] > c.min && (widest < 0 || g.widths[i] > g.widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			break
		}
		g.widths[widest]--
	}
	return g
}

// least is the width of the grid when all that may shrink has done so.
func (g grid) least() int {
	widths := make([]int, len(g.widths))
	for i, c := range g.columns {
		widths[i] = g.widths[i]
		if c.min > 0 {
			widths[i] = min(c.min, g.widths[i])
		}
	}
	return g.total(widths)
}

func (g grid) total(widths []int) int {
	sum := -len(g.gap)
	for _, w := range widths {
		if w >= 0 {
			sum += w + len(g.gap)
		}
	}
	return sum
}

func (g grid) header() string {
	row := make([]text, len(g.columns))
	for i, c := range g.columns {
		row[i] = text{c.title, plain}
	}
	return g.line(row, &grey)
}

// line draws a row. all: in place of the texts' own styles; nil: in these.
func (g grid) line(row []text, all *lipgloss.Style) string {
	var b strings.Builder
	begun := false
	for i, t := range row {
		if g.widths[i] < 0 {
			continue
		}
		if begun {
			b.WriteString(g.gap)
		}
		begun = true
		shown := ansi.Truncate(t.string, g.widths[i], "…")
		space := strings.Repeat(" ", max(0, g.widths[i]-ansi.StringWidth(shown)))
		style := t.style
		if all != nil {
			style = *all
		}
		if g.columns[i].right {
			b.WriteString(space + style.Render(shown))
		} else {
			b.WriteString(style.Render(shown) + space)
		}
	}
	return strings.TrimRight(b.String(), " ")
}
