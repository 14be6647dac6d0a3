package watch

import (
	"fmt"
	"html"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
)

// The README's picture is a view, as a terminal with a dark background draws it.
func TestTheREADMEsPictureIsTheView(t *testing.T) {
	const width = 96
	f := aFleet()
	delete(f.states, "mail\x1b[2J")
	list := press(open(t, f, width, 12), "s", "s", "home")
	opened := press(open(t, f, width, 26), "s", "s", "home", "enter", "down", "x")
	mustBeGolden(t, "../../../../docs/images/watch.svg", svgOf(list.Content()+"\n\n"+opened.Content(), width))
}

// Colours of the terminal, by the parameter that selects them.
var palette = map[string]string{"": "#d6dbe1", "31": "#f47067", "32": "#6bc46d", "33": "#daaa3f", "36": "#56d4dd", "90": "#8b949e"}

// svgOf draws text with colours and bold as a picture. Each run of one style stands at its own column, so that no font
// moves what follows it.
func svgOf(content string, width int) string {
	const cellWidth, cellHeight, border = 8.4, 18, 16
	lines := strings.Split(content, "\n")
	var b strings.Builder
	w, h := float64(width)*cellWidth+2*border, len(lines)*cellHeight+2*border
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%d" viewBox="0 0 %.0f %d" font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14" xml:space="preserve">`+"\n", w, h, w, h)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" rx="8" fill="#161b22"/>`+"\n")
	for i, line := range lines {
		y := border + float64(i)*cellHeight
		x := 0
		colour, bold := "", false
		for line != "" {
			if rest, is := strings.CutPrefix(line, "\x1b["); is {
				parameters, after, _ := strings.Cut(rest, "m")
				line = after
				if parameters == "" || parameters == "0" {
					colour, bold = "", false
				}
				for _, p := range strings.Split(parameters, ";") {
					if p == "1" {
						bold = true
					} else if _, known := palette[p]; known && p != "" {
						colour = p
					}
				}
				continue
			}
			text, _, _ := strings.Cut(line, "\x1b")
			line = line[len(text):]
			drawRun(&b, text, x, y, cellWidth, palette[colour], bold)
			x += ansi.StringWidth(text)
		}
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// drawRun draws text of one style. The squares of a bar are drawn as such: fonts disagree about their width.
func drawRun(b *strings.Builder, text string, x int, y, cell float64, colour string, bold bool) {
	const border, squares = 16.0, "■□"
	for text != "" {
		end := strings.IndexAny(text, squares)
		if end < 0 {
			end = len(text)
		}
		at := x
		for _, words := range strings.SplitAfter(text[:end], "  ") { // columns, each where it belongs
			if shown := strings.TrimSpace(words); shown != "" {
				weight := ""
				if bold {
					weight = ` font-weight="bold"`
				}
				lead := len(words) - len(strings.TrimLeft(words, " "))
				fmt.Fprintf(b, `<text x="%.1f" y="%.1f" fill="%s"%s textLength="%.1f" lengthAdjust="spacingAndGlyphs">%s</text>`+"\n",
					border+float64(at+lead)*cell, y+13, colour, weight, float64(ansi.StringWidth(shown))*cell, html.EscapeString(shown))
			}
			at += ansi.StringWidth(words)
		}
		x += ansi.StringWidth(text[:end])
		text = text[end:]
		for len(text) > 0 && strings.HasPrefix(text, "■") || strings.HasPrefix(text, "□") {
			fill := colour
			if strings.HasPrefix(text, "□") {
				fill = "none"
			}
			fmt.Fprintf(b, `<rect x="%.1f" y="%.1f" width="6.4" height="9" fill="%s" stroke="%s"/>`+"\n", border+float64(x)*cell+1, y+4, fill, colour)
			x++
			text = text[len("■"):]
		}
	}
}
