package watch

import (
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/show"
	"github.com/eqworks/passbuddy/internal/view"
)

// Update takes what has happened.
func (m Model) Update(msg tea.Msg) (Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case ticked:
		m.now = time.Time(msg)
		return m.ticked()
	case scanned:
		m.scanning = false
		if msg.err != nil {
			return m.says(msg.err.Error(), true), nil
		}
		m.names = msg.names
	case polled:
		if m = m.polled(msg); m.again {
			return m.poll()
		}
	case acted:
		if msg.err != nil {
			m = m.says(msg.err.Error(), true)
		} else {
			m = m.says(msg.text, false)
		}
		return m.poll()
	case tea.KeyPressMsg:
		return m.pressed(msg)
	}
	return m, nil
}

func (m Model) ticked() (Model, tea.Cmd) {
	cmds := []tea.Cmd{tick()}
	if !m.scanning && m.now.Sub(m.scanned) >= show.RescanAfter {
		m.scanning, m.scanned = true, m.now
		cmds = append(cmds, m.scan)
	}
	if !m.polling {
		var poll tea.Cmd
		m, poll = m.poll()
		cmds = append(cmds, poll)
	}
	return m, tea.Batch(cmds...)
}

func (m Model) says(text string, failed bool) Model {
	m.said, m.failed = show.Line(text), failed
	return m
}

func (m Model) pressed(key tea.KeyPressMsg) (Model, tea.Cmd) {
	switch name := key.String(); {
	case name == "ctrl+c":
		return m, tea.Interrupt
	case name == "ctrl+z":
		return m, tea.Suspend
	case m.asks != nil:
		return m.answered(key)
	case m.typing:
		return m.typed(key), nil
	case m.helps:
		m.helps = false
		return m, nil
	default:
		m.said = ""
		return m.chose(name)
	}
}

// typed changes the filter.
func (m Model) typed(key tea.KeyPressMsg) Model {
	switch key.String() {
	case "enter":
		m.typing = false
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace":
		if runes := []rune(m.filter); len(runes) > 0 {
			m.filter = string(runes[:len(runes)-1])
		} else {
			m.typing = false
		}
	default:
		m.filter += show.Line(key.Text)
	}
	return m
}

// chose carries out a key that is a command.
func (m Model) chose(key string) (Model, tea.Cmd) {
	switch key {
	case "q":
		return m, tea.Quit
	case "?":
		m.helps = true
	case "up", "k":
		return m.moved(-1), nil
	case "down", "j":
		return m.moved(1), nil
	case "pgup":
		return m.moved(-m.height / 2), nil
	case "pgdown":
		return m.moved(m.height / 2), nil
	case "home", "g":
		return m.moved(-1 << 30), nil
	case "end", "G":
		return m.moved(1 << 30), nil
	case "esc", "left", "h", "backspace":
		if m.open == "" {
			m.filter = ""
			return m, nil
		}
		m.open = ""
		return m.poll()
	case "enter", "right", "l":
		if v, is := m.current(); is && m.open == "" {
			m.open, m.chosen, m.detail = v.Name, "", view.Detail{Semaphore: v}
			return m.poll()
		}
	case "/":
		m.typing = m.open == ""
	case "s":
		m.order = (m.order + 1) % len(show.Orders)
	case "p", "r", "+", "=", "-", "z", "x":
		return m.ask(key), nil
	}
	return m, nil
}

// rows are the semaphores that the list shows, in order.
func (m Model) rows() []view.Semaphore {
	rows := make([]view.Semaphore, 0, len(m.all))
	for _, v := range m.all {
		if strings.Contains(strings.ToLower(v.Name), strings.ToLower(m.filter)) {
			rows = append(rows, v)
		}
	}
	show.Sort(rows, show.Orders[m.order])
	return rows
}

// at is where the cursor stands in the list; it stays on its name when the order changes.
func (m Model) at(rows []view.Semaphore) int {
	return max(0, slices.IndexFunc(rows, func(v view.Semaphore) bool { return v.Name == m.cursor }))
}

// current is the semaphore that is open, or on which the cursor stands.
func (m Model) current() (view.Semaphore, bool) {
	if m.open != "" {
		return m.detail.Semaphore, true
	}
	rows := m.rows()
	if len(rows) == 0 {
		return view.Semaphore{}, false
	}
	return rows[m.at(rows)], true
}

// moved moves the cursor by so many rows.
func (m Model) moved(by int) Model {
	if m.open != "" {
		if ids := m.ids(); len(ids) > 0 {
			m.chosen = ids[clamp(slices.Index(ids, m.standsOn())+by, len(ids))]
		}
		return m
	}
	if rows := m.rows(); len(rows) > 0 {
		m.cursor = rows[clamp(m.at(rows)+by, len(rows))].Name
	}
	return m
}

func clamp(i, n int) int { return min(max(i, 0), n-1) }

// ids are the holders' and the waiters' in the order in which they are shown.
func (m Model) ids() []string {
	var ids []string
	for _, h := range m.detail.Holders {
		ids = append(ids, h.ID)
	}
	for _, w := range m.detail.Waiters {
		ids = append(ids, w.ID)
	}
	return ids
}

// standsOn is the id on which the cursor stands: of the first one, where that which was chosen has gone.
func (m Model) standsOn() string {
	ids := m.ids()
	if len(ids) == 0 || slices.Contains(ids, m.chosen) {
		return m.chosen
	}
	return ids[0]
}
