package report

import (
	"fmt"
	"image/color"
	"math"
	"os"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/eqworks/passbuddy/bench/internal/stats"
	"github.com/eqworks/passbuddy/bench/internal/workload"
)

// A chart has a row for each contender and a dot for each figure, at the median, with a line from the
// smallest to the largest. Dots, because bars on a scale without zero would lie about proportions.
type chart struct {
	title  string
	axis   string // what is measured, and whether more or less is better
	unit   workload.Unit
	linear bool // from zero; otherwise the scale is logarithmic
	rows   []string
	series []series
	values bool // written beside the dots
}

// A series is the figures of one case.
type series struct {
	name    string
	figures map[string]stats.Summary // by row
}

// empty reports whether there is nothing to draw.
func (c *chart) empty() bool { return len(c.present()) == 0 }

// present are the rows that have a figure.
func (c *chart) present() []string {
	var rows []string
	for _, row := range c.rows {
		if slices.ContainsFunc(c.series, func(s series) bool { _, ok := s.figures[row]; return ok }) {
			rows = append(rows, row)
		}
	}
	return rows
}

// colours that people with any kind of colour vision tell apart. (M. Okabe, K. Ito: Color Universal
// Design, 2008.)
var colours = []color.Color{
	color.RGBA{0, 114, 178, 255}, color.RGBA{213, 94, 0, 255}, color.RGBA{0, 158, 115, 255}, color.RGBA{204, 121, 167, 255},
}

var shapes = []draw.GlyphDrawer{draw.CircleGlyph{}, draw.PyramidGlyph{}, draw.BoxGlyph{}, draw.RingGlyph{}}

var (
	grey = color.RGBA{90, 90, 90, 255}
	pale = color.RGBA{225, 225, 225, 255}
)

// sans is metric-compatible with Arial, which takes its place where it is missing.
var sans = font.Font{Typeface: "Liberation", Variant: "Sans"}

func text(size vg.Length) font.Font {
	f := sans
	f.Size = size
	return f
}

// plot draws the chart on a plot of its own.
func (c *chart) plot() (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text, p.X.Label.Text = c.title, c.axis
	p.Title.TextStyle.Font, p.Title.Padding = text(11), 6
	p.X.Label.TextStyle.Font, p.X.Tick.Label.Font = text(9), text(8)
	p.Y.Tick.Label.Font = text(9)
	p.X.Padding, p.Y.Tick.Length, p.Y.LineStyle.Width = 0, 0, 0

	rows := c.present()
	slices.Reverse(rows) // the first one on top
	p.NominalY(rows...)
	p.Y.Tick.LineStyle.Width = 0
	p.Y.Min, p.Y.Max = -0.6, float64(len(rows))-0.4
	if len(c.series) > 1 {
		p.Y.Max++ // for the key
		p.Add(key(c.series))
	}

	low, high := c.bounds()
	if c.linear {
		low, high = min(low, 0), max(high, 0)
		room := (high - low) / 12
		if low < 0 {
			low -= room
		}
		high += room
		if c.values {
			high += 2 * room
		}
	} else {
		p.X.Scale = plot.LogScale{}
		room := math.Pow(high/low, 0.08)
		room = max(room, 1.15)
		low, high = low/room, high*room
		if c.values {
			high *= math.Pow(high/low, 0.25)
		}
	}
	p.X.Min, p.X.Max = low, high
	p.X.Tick.Marker = ticks{c.unit, c.linear}
	grid := plotter.NewGrid()
	grid.Vertical.Color, grid.Horizontal.Color = pale, pale
	p.Add(grid)
	for i, s := range c.series {
		if err := c.add(p, rows, i, s); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// bounds are the smallest and the largest figure.
func (c *chart) bounds() (low, high float64) {
	low, high = math.Inf(1), math.Inf(-1)
	for _, s := range c.series {
		for _, row := range c.rows {
			if f, ok := s.figures[row]; ok {
				low, high = min(low, f.Min), max(high, f.Max)
			}
		}
	}
	return low, high
}

// points are what the plotters draw of a series.
type points struct {
	plotter.XYs
	plotter.XErrors
}

// add draws one series, moved a little so that the dots of a row do not cover each other.
func (c *chart) add(p *plot.Plot, rows []string, i int, s series) error {
	shift := (float64(len(c.series)-1)/2 - float64(i)) * 0.7 / float64(max(len(c.series), 4))
	for y, row := range rows {
		f, ok := s.figures[row]
		if !ok || !c.linear && f.Min <= 0 {
			continue
		}
		at := points{plotter.XYs{{X: f.Median, Y: float64(y) + shift}}, plotter.XErrors{{Low: f.Min - f.Median, High: f.Max - f.Median}}}
		colour := colours[i%len(colours)]
		if len(c.series) == 1 && !strings.HasPrefix(row, "PassBuddy") {
			colour = grey
		}
		bars, err := plotter.NewXErrorBars(at)
		if err != nil {
			return err
		}
		bars.Color, bars.Width, bars.CapWidth = colour, 1, 3
		dots, err := plotter.NewScatter(at.XYs)
		if err != nil {
			return err
		}
		dots.GlyphStyle = dot(i)
		dots.Color = colour
		if f.Min < f.Max {
			p.Add(bars)
		}
		p.Add(dots)
		if c.values {
			p.Add(note{plotter.XY{X: f.Max, Y: float64(y) + shift}, Format(f.Median, c.unit)})
		}
	}
	return nil
}

// dot is how the i-th series is drawn.
func dot(i int) draw.GlyphStyle {
	return draw.GlyphStyle{Color: colours[i%len(colours)], Radius: 3, Shape: shapes[i%len(shapes)]}
}

// A key says which dot is which series, in a line above the rows.
type key []series

// Plot is what package plot calls to draw it.
func (k key) Plot(c draw.Canvas, p *plot.Plot) {
	style := p.Y.Tick.Label
	style.Font, style.XAlign, style.YAlign = text(9), draw.XLeft, draw.YCenter
	at := vg.Point{X: c.Min.X + 4, Y: c.Max.Y - 8}
	for i, s := range k {
		c.DrawGlyph(dot(i), at)
		at.X += 7
		c.FillText(style, at, s.name)
		at.X += style.Width(s.name) + 16
	}
}

// A note is a figure beside its dot. Unlike a plotter.Labels it claims no room of its own.
type note struct {
	at   plotter.XY
	text string
}

// Plot is what package plot calls to draw it.
func (n note) Plot(c draw.Canvas, p *plot.Plot) {
	style := p.Y.Tick.Label
	style.Font, style.XAlign, style.YAlign = text(8), draw.XLeft, draw.YCenter
	x, y := p.Transforms(&c)
	c.FillText(style, vg.Point{X: x(n.at.X) + 6, Y: y(n.at.Y)}, n.text)
}

// ticks writes the figures of an axis with their units.
type ticks struct {
	unit   workload.Unit
	linear bool
}

func (t ticks) Ticks(low, high float64) []plot.Tick {
	if t.linear {
		all := plot.DefaultTicks{}.Ticks(low, high)
		for i := range all {
			if !all[i].IsMinor() {
				all[i].Label = Format(all[i].Value, t.unit)
			}
		}
		return all
	}
	every := high/low < 5
	some := high/low < 100
	var all []plot.Tick
	for decade := math.Floor(math.Log10(low)); decade <= math.Log10(high); decade++ {
		for i := 1.0; i < 10; i++ {
			tick := plot.Tick{Value: i * math.Pow(10, decade)}
			if i == 1 || every && i != 7 && i != 9 || some && (i == 2 || i == 5) {
				tick.Label = Format(tick.Value, t.unit)
			}
			if tick.Value >= low && tick.Value <= high {
				all = append(all, tick)
			}
		}
	}
	return all
}

// drawCharts writes charts side by side and below each other into one SVG file.
func drawCharts(path string, charts [][]*chart, width, height vg.Length) error {
	plots := make([][]*plot.Plot, len(charts))
	for i, row := range charts {
		for _, c := range row {
			if c == nil {
				plots[i] = append(plots[i], nil)
				continue
			}
			p, err := c.plot()
			if err != nil {
				return fmt.Errorf("%s: %s: %w", path, c.title, err)
			}
			plots[i] = append(plots[i], p)
		}
	}
	canvas := vgsvg.New(width, height)
	area := draw.New(canvas)
	area.SetColor(color.White)
	area.Fill(area.Rectangle.Path())
	tiles := draw.Tiles{
		Rows: len(charts), Cols: len(charts[0]),
		PadX: 14, PadY: 14, PadTop: 8, PadBottom: 8, PadLeft: 8, PadRight: 12,
	}
	for i, row := range plot.Align(plots, tiles, area) {
		for j, tile := range row {
			if plots[i][j] != nil {
				plots[i][j].Draw(tile)
			}
		}
	}
	var svg strings.Builder
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	text := strings.ReplaceAll(svg.String(), "font-family:Liberation Sans", "font-family:'Liberation Sans',Arial,Helvetica,sans-serif")
	return os.WriteFile(path, []byte(text), 0o644)
}
