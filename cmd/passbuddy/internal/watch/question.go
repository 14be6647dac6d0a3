package watch

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/operate"
	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/show"
	"github.com/eqworks/passbuddy/internal/view"
)

// A question stands before each action. It keeps the name and the id that it asks about, whatever the view shows meanwhile.
type question struct {
	verb     string // pause, resume, resize or revoke
	name     string
	before   int // the capacity in force
	declared int
	capacity string      // of a resize, as it is typed
	fresh    bool        // the first digit replaces it
	reset    bool        // to what the fleet declares
	holder   view.Holder // of a revoke
}

// ask asks what a key stands for, or says why that cannot be.
func (m Model) ask(key string) Model {
	v, is := m.current()
	if !is {
		return m
	}
	q := question{name: v.Name, before: v.Capacity, declared: v.Declared, capacity: strconv.Itoa(v.Capacity), fresh: true}
	paused := v.State == view.Paused
	switch key {
	case "p":
		if paused {
			return m.says(v.Name+" is paused already; r resumes it", true)
		}
		q.verb = "pause"
	case "r":
		if !paused && v.Override != nil {
			return m.says(fmt.Sprintf("%s is not paused; it is resized to %d, and z changes that", v.Name, v.Capacity), true)
		}
		if !paused {
			return m.says(v.Name+" is not paused", true)
		}
		q.verb = "resume"
	case "x":
		i := -1
		if m.open != "" {
			i = slices.IndexFunc(m.detail.Holders, func(h view.Holder) bool { return h.ID == m.standsOn() })
		}
		if i < 0 {
			return m.says("choose a holder: enter opens a semaphore, and the arrows go to one", true)
		}
		q.verb, q.holder = "revoke", m.detail.Holders[i]
	default:
		q.verb = "resize"
		if key != "z" {
			q.add(key)
		}
	}
	m.asks = &q
	return m
}

// add changes the capacity by one.
func (q *question) add(key string) {
	n, _ := strconv.Atoi(q.capacity) // nothing is typed: 0
	if q.reset {
		n = q.declared
	}
	if key == "-" {
		n = max(n-1, 0)
	} else {
		n++
	}
	q.types(strconv.Itoa(n))
}

// types has the capacity read so.
func (q *question) types(text string) { q.capacity, q.fresh, q.reset = text, false, false }

// text is the question, and what the keys answer.
func (q question) text() (text, keys string) {
	name := show.Line(q.name)
	const yesOrNo = "y yes  n no"
	switch q.verb {
	case "pause":
		return fmt.Sprintf("Pause %s? Nobody gets a permit until it is resumed. Who holds one keeps it.", name), yesOrNo
	case "resume":
		return fmt.Sprintf("Resume %s? Who waits is served.", name), yesOrNo
	case "revoke":
		return fmt.Sprintf("Take the permit %s of %s away? Its holder is told to stop; the permit is free when it has.", q.id(), q.owner()), yesOrNo
	}
	if q.reset {
		return fmt.Sprintf("Set the capacity of %s from %d to what the fleet declares, %d?", name, q.before, q.declared), "enter yes  esc no  + - 0-9 change it"
	}
	return fmt.Sprintf("Set the capacity of %s from %d to %s, for the whole fleet?", name, q.before, q.capacity+"▁"), "enter yes  esc no  + - 0-9 change it  d as declared"
}

// id is so much of the holder's id as people compare.
func (q question) id() string { return ansi.Truncate(show.Line(q.holder.ID), 24, "…") }

func (q question) owner() string { return show.Line(show.Dash(show.Owner(q.holder.Owner))) }

// answered takes a key while a question stands.
func (m Model) answered(key tea.KeyPressMsg) (Model, tea.Cmd) {
	q := *m.asks
	name := key.String()
	if q.verb == "resize" {
		edits := true
		switch {
		case name == "+" || name == "=" || name == "-":
			q.add(name)
		case len(name) == 1 && name[0] >= '0' && name[0] <= '9':
			if q.fresh || q.reset {
				q.capacity = ""
			}
			if len(q.capacity) < 9 {
				q.types(q.capacity + name)
			}
		case name == "backspace":
			q.types(q.capacity[:max(0, len(q.capacity)-1)])
		case name == "d":
			q.reset = true
		default:
			edits = name == "enter" && q.capacity == "" && !q.reset // there is nothing to set
		}
		if edits {
			m.asks = &q
			return m, nil
		}
	}
	m.asks = nil
	if name == "y" || name == "enter" && q.verb == "resize" {
		return m, m.act(q)
	}
	return m.says("nothing was changed", false), nil
}

// act returns the command that does what was asked.
func (m Model) act(q question) tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, m.timeout)
		defer cancel()
		if q.verb == "revoke" {
			err := m.fleet.Revoke(ctx, q.name, q.holder.ID)
			return acted{fmt.Sprintf("%s: took the permit %s away from %s", q.name, q.id(), q.owner()), err}
		}
		done, err := operate.Capacity(ctx, m.fleet, q.name, q.verb, nil, func(ctx context.Context) error {
			switch q.verb {
			case "pause":
				return m.fleet.Pause(ctx, q.name)
			case "resume":
				return m.fleet.Resume(ctx, q.name)
			}
			if q.reset {
				return m.fleet.ResetCapacity(ctx, q.name)
			}
			n, err := strconv.Atoi(q.capacity)
			if err != nil {
				return err
			}
			return m.fleet.Resize(ctx, q.name, n)
		})
		text := done.String()
		if done.Undo != "" && done.Before != done.After {
			text += "; to undo it: " + done.Undo
		}
		return acted{text, err}
	}
}
