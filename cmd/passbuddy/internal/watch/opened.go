package watch

import (
	"fmt"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/show"
	"github.com/eqworks/passbuddy/internal/view"
)

// opened draws one semaphore: its counts, what an operator has set, who holds it, who waits, and for which processes.
func (m Model) opened(height int) []string {
	d := m.detail
	head := m.counts(d)
	var lines []string
	cursor := 0 // in lines
	ids := m.ids()
	chosen := m.standsOn()
	section := func(title string, columns []column, rows [][]text, ids []string, more int) {
		if len(rows) == 0 {
			return
		}
		g := newGrid(m.width, columns, rows)
		lines = append(lines, "", bold.Render(title), g.header())
		for i, row := range rows {
			if ids != nil && ids[i] == chosen {
				cursor = len(lines)
				row[0] = text{"▸", cyan}
				row[1].style = bold
			}
			lines = append(lines, g.line(row, m.faded()))
		}
		if more > 0 {
			lines = append(lines, grey.Render(fmt.Sprintf("… and %d more: passbuddy inspect %s --all", more, show.Line(show.Quoted(d.Name)))))
		}
	}
	section(fmt.Sprintf("Held by %d", d.Leases), holderColumns, holderRows(d), ids[:len(d.Holders)], d.Leases-len(d.Holders))
	section(fmt.Sprintf("Queue of %d", d.Queue), waiterColumns, waiterRows(d), ids[len(d.Holders):], d.Queue-len(d.Waiters))
	section("Processes that wait", processColumns, processRows(d), nil, 0)
	first, last := window(cursor, len(lines), height-len(head))
	return append(head, lines[first:last]...)
}

// counts are the lines that stand above the tables.
func (m Model) counts(d view.Detail) []string {
	style := plain
	if m.isStale() {
		style = grey
	}
	b, s := bar(d.Semaphore, m.barWidth()), m.state(d.Semaphore)
	if m.isStale() {
		b.style, s.style = grey, grey
	}
	line := bold.Render(show.Line(d.Name)) + "  " + b.style.Render(b.string)
	if b.string != "" {
		line += "  "
	}
	line += style.Render(fmt.Sprintf("%d of %d held, %d waiting  ", d.Held, d.Capacity, d.Waiting)) + s.style.Render(s.string)
	lines := []string{line}
	if d.Declared > 0 {
		lines = append(lines, grey.Render(fmt.Sprintf("the fleet declares a capacity of %d and a TTL of %gs", d.Declared, d.TTL)))
	}
	if o := d.Override; o != nil && o.At != nil {
		set := fmt.Sprintf("set to %d by %s %s ago%s", o.Capacity, show.Line(o.By), view.Brief(d.ServerTime.Sub(*o.At)), show.Line(show.Because(o.Reason)))
		lines = append(lines, m.wrapped(set, cyan)...)
	}
	return lines
}

var (
	holderColumns = []column{
		{}, {title: "OWNER", min: 8}, {title: "LABEL", min: 6, drop: 1}, {title: "WT", drop: 5, right: true}, {title: "SLOTS", drop: 2},
		{title: "SINCE", drop: 3, right: true}, {title: "EXPIRES", right: true}, {title: "ID", min: 8, drop: 6},
	}
	waiterColumns = []column{
		{}, {title: "#", right: true}, {title: "OWNER", min: 8}, {title: "LABEL", min: 6, drop: 1}, {title: "WT", drop: 2, right: true}, {title: "WAITS", right: true}, {title: "ALIVE"},
	}
	processColumns = []column{{}, {title: "OWNER", min: 8}, {title: "CALLERS", right: true}}
)

func holderRows(d view.Detail) (rows [][]text) {
	for _, h := range d.Holders {
		since, expires := "-", text{view.Brief(h.Expires.Sub(d.ServerTime)), plain}
		if h.Asked != nil {
			since = view.Brief(d.ServerTime.Sub(*h.Asked))
		}
		if h.Revoked {
			expires = text{"revoked, " + expires.string, yellow}
		}
		rows = append(rows, []text{
			{" ", plain}, {show.Line(show.Dash(show.Owner(h.Owner))), plain}, {show.Line(show.Dash(h.Label)), plain}, {fmt.Sprint(h.Weight), grey}, {show.Numbers(h.Slots), plain},
			{since, plain}, expires, {show.Line(h.ID), grey},
		})
	}
	return rows
}

func waiterRows(d view.Detail) (rows [][]text) {
	for _, w := range d.Waiters {
		alive := text{"yes", green}
		if !w.Alive {
			alive = text{"no", red}
		}
		rows = append(rows, []text{
			{" ", plain}, {fmt.Sprint(w.Place), plain}, {show.Line(show.Dash(show.Owner(w.Owner))), plain}, {show.Line(show.Dash(w.Label)), plain}, {fmt.Sprint(w.Weight), grey},
			{view.Brief(d.ServerTime.Sub(w.Since)), yellow}, alive,
		})
	}
	return rows
}

func processRows(d view.Detail) (rows [][]text) {
	for _, p := range d.Processes {
		rows = append(rows, []text{{" ", plain}, {show.Line(show.Dash(show.Owner(p.Owner))), plain}, {fmt.Sprint(p.Callers), plain}})
	}
	return rows
}
