// Package watch is the live view in a terminal: a list of semaphores, one of them opened, and what an operator may do to it.
//
// A Model is a value: Update takes what has happened and returns the next one, Content draws it. What waits for Redis are
// the commands that Update returns; Run carries them out.
package watch

import (
	"cmp"
	"context"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/operate"
	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/show"
	"github.com/eqworks/passbuddy/internal/view"
	"github.com/eqworks/passbuddy/lease"
)

// A Fleet is what the view looks at and acts on; a *lease.Manager is one.
type Fleet interface {
	show.Source
	operate.Fleet
	Inspect(ctx context.Context, name string) (*lease.State, error)
}

// A Config says what to watch.
type Config struct {
	Fleet    Fleet
	Patterns []string      // of names; none: all
	Timeout  time.Duration // of one look or action; a scan for names may take ten times as long
	Title    string        // of the view; empty: passbuddy watch
	Where    string        // what people call the server
}

// listed is how many holders and waiters of the opened semaphore are listed.
const listed = 1000

// A Model is what the view shows.
type Model struct {
	// immutable
	ctx     context.Context // ends what is under way
	fleet   Fleet
	looker  *show.Looker
	timeout time.Duration
	title   string
	where   string

	// what Redis has said
	names    []string
	scanned  time.Time // when the last scan for names began
	scanning bool
	polling  bool // never two at once
	again    bool // as soon as the poll under way has ended
	seen     time.Time
	trouble  error // of the last poll; nil: it went well
	all      []view.Semaphore
	detail   view.Detail // of the one that is open

	// what the person at the terminal has chosen
	width, height int
	now           time.Time // of the last tick
	order         int       // one of show.Orders
	filter        string
	typing        bool   // the filter
	cursor        string // the name it stands on
	open          string // the name of the opened semaphore; empty: the list is shown
	chosen        string // the id of a holder or waiter of it
	asks          *question
	said          string // what the last action has done
	failed        bool   // it has not
	helps         bool
}

// New makes a Model, and looks for the first time: it waits for Redis, and fails where it cannot look. What the Model's
// commands do ends with ctx.
func New(ctx context.Context, cfg Config) (Model, error) {
	looker, err := show.NewLooker(cfg.Fleet, cfg.Patterns...)
	if err != nil {
		return Model{}, err
	}
	m := Model{ctx: ctx, fleet: cfg.Fleet, looker: looker, timeout: cfg.Timeout, title: cmp.Or(cfg.Title, "passbuddy watch"), where: cfg.Where, width: 80, height: 24, now: time.Now()}
	m.scanned = m.now
	found := m.scan().(scanned)
	if found.err != nil {
		return Model{}, found.err
	}
	m.names = found.names
	first := m.look()().(polled)
	return m.polled(first), first.err
}

// Init returns the command that begins the ticks.
func (m Model) Init() tea.Cmd { return tick() }

type (
	ticked  time.Time
	scanned struct {
		names []string
		err   error
	}
	polled struct {
		at     time.Time
		open   string // which one was looked at; empty: all
		all    []view.Semaphore
		detail view.Detail
		err    error
	}
	acted struct {
		text string
		err  error
	}
)

// tick is the command that waits for the next second.
func tick() tea.Cmd { return tea.Tick(time.Second, func(now time.Time) tea.Msg { return ticked(now) }) }

// scan is the command that looks for names.
func (m Model) scan() tea.Msg {
	ctx, cancel := context.WithTimeout(m.ctx, 10*m.timeout) // a large keyspace takes a while
	defer cancel()
	names, err := m.looker.Names(ctx)
	return scanned{names, err}
}

// look returns the command that sums up the semaphores of the list, or looks at the opened one.
func (m Model) look() tea.Cmd {
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, m.timeout)
		defer cancel()
		found := polled{open: m.open}
		if m.open == "" {
			found.all, found.err = m.looker.Look(ctx, m.names)
		} else if state, err := m.fleet.Inspect(ctx, m.open); err != nil {
			found.err = err
		} else {
			found.detail = view.OfState(state, listed)
		}
		found.at = time.Now()
		return found
	}
}

// poll looks, or will do so as soon as the poll under way has ended.
func (m Model) poll() (Model, tea.Cmd) {
	if m.polling {
		m.again = true
		return m, nil
	}
	m.polling, m.again = true, false
	return m, m.look()
}

// polled takes what a poll has found. What belongs to a semaphore that has been closed meanwhile is left aside.
func (m Model) polled(found polled) Model {
	m.polling, m.trouble = false, found.err
	if found.err != nil {
		return m
	}
	m.seen = found.at
	if m.now.Before(found.at) {
		m.now = found.at
	}
	switch found.open {
	case "":
		m.all = found.all
	case m.open:
		m.detail = found.detail
	}
	return m
}

// quietFor is for how long a poll may take before the view says that it shows the past.
const quietFor = 3 * time.Second

// isStale reports whether what is shown is no longer what is.
func (m Model) isStale() bool { return m.trouble != nil || m.now.Sub(m.seen) > quietFor }
