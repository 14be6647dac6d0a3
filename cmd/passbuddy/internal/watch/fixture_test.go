package watch

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/eqworks/passbuddy/lease"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// A fleet is what Redis would say, and what operators have done. It is safe for concurrent use.
type fleet struct {
	mu     sync.Mutex
	states map[string]*lease.State
	err    error
	did    []string
	calls  int
}

func (f *fleet) Names(context.Context) ([]string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.states)), f.err
}

func (f *fleet) Inspect(_ context.Context, name string) (*lease.State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if s := f.states[name]; s != nil {
		return s, f.err
	}
	return &lease.State{Name: name, ServerTime: noon}, f.err
}

func (f *fleet) Summaries(_ context.Context, names ...string) (all []lease.Summary, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	for _, name := range names {
		s := f.states[name]
		if s == nil {
			s = &lease.State{Name: name, ServerTime: noon}
		}
		sum := lease.Summary{
			Name: name, ServerTime: noon, Capacity: s.Capacity, Resized: s.Resized, Paused: s.Paused, Override: s.Override,
			OtherDeclared: s.OtherDeclared, OtherTTL: s.OtherTTL, Held: s.Held, Places: len(s.Waiters),
		}
		if len(s.Holders) > 0 {
			sum.NextExpiry = s.Holders[0].Expires
		}
		if len(s.Waiters) > 0 {
			sum.FirstSince, sum.FirstWeight = s.Waiters[0].Since, s.Waiters[0].Weight
		}
		for _, p := range s.Waiting {
			sum.Callers += p.Callers
		}
		all = append(all, sum)
	}
	return all, f.err
}

func (f *fleet) act(name, what string, change func(*lease.State)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did = append(f.did, what+" "+name)
	if f.err == nil {
		change(f.states[name])
	}
	return f.err
}

func (f *fleet) Resize(_ context.Context, name string, n int, _ ...lease.ChangeOption) error {
	return f.act(name, fmt.Sprint("resize to ", n), func(s *lease.State) { s.Capacity, s.Resized, s.Paused = n, true, n == 0 })
}

func (f *fleet) ResetCapacity(_ context.Context, name string) error {
	return f.act(name, "reset", func(s *lease.State) { s.Capacity, s.Resized, s.Paused = s.OtherDeclared, false, false })
}

func (f *fleet) Pause(_ context.Context, name string, _ ...lease.ChangeOption) error {
	return f.act(name, "pause", func(s *lease.State) { s.Capacity, s.Resized, s.Paused = 0, true, true })
}

func (f *fleet) Resume(_ context.Context, name string) error {
	return f.act(name, "resume", func(s *lease.State) { s.Capacity, s.Resized, s.Paused = s.OtherDeclared, false, false })
}

func (f *fleet) Revoke(_ context.Context, name, id string) error {
	return f.act(name, "revoke "+id+" of", func(*lease.State) {})
}

// semaphores makes a state in few words.
func semaphore(name string, capacity, waiting int, ttl time.Duration, holders ...lease.Holder) *lease.State {
	s := &lease.State{Name: name, ServerTime: noon, Capacity: capacity, OtherDeclared: capacity, OtherTTL: ttl, Holders: holders}
	for i := range holders {
		h := &s.Holders[i]
		h.Weight = max(h.Weight, 1)
		h.Owner = fmt.Sprintf("%s~4f0a%02x7e", h.Owner, 31*i)
		h.ID = fmt.Sprintf("019ad2c1-%02x40-7b1d-a6c0-1f2e3d4c5b%02x:%d@%s#%s", 7*i+17, i, h.Weight, h.Owner, h.Label)
		h.Expires = noon.Add(ttl*time.Duration(60+9*i)/100 + 123*time.Millisecond)
		h.AskedAt = noon.Add(-time.Duration(17*(len(holders)-i)) * time.Second)
		s.Held += h.Weight
	}
	for i := range waiting {
		owner := fmt.Sprintf("worker-%d", i+5)
		s.Waiters = append(s.Waiters, lease.Waiter{
			ID: fmt.Sprintf("019ad2c2-%02x40-7b1d-a6c0-1f2e3d4c5b6a:1@%s", i, owner), Owner: owner, Label: "train", Weight: 1, Place: i + 1,
			Since: noon.Add(-time.Duration(2*(waiting-i))*time.Second - 300*time.Millisecond), AliveUntil: noon.Add(time.Second),
		})
		s.Waiting = append(s.Waiting, lease.WaitingProcess{Owner: owner, Places: 1, Callers: 1 + 3*(i%2)})
	}
	return s
}

func holder(owner, label string, slots ...int) lease.Holder {
	return lease.Holder{Owner: owner, Label: label, Slots: slots, Weight: max(1, len(slots))}
}

// aFleet has a semaphore in each state.
func aFleet() *fleet {
	all := []*lease.State{
		semaphore("gpu", 4, 3, 15*time.Second, holder("worker-1", "train", 0), holder("worker-2", "train", 2), holder("worker-4", "evaluate", 1, 3)),
		semaphore("api-search", 40, 0, 5*time.Second, holder("api-7c9f/1", ""), holder("api-51be/1", ""), holder("api-02aa/1", "")),
		semaphore("nightly-report", 1, 0, time.Minute, holder("cron-2", "report")),
		semaphore("thumbnails", 8, 0, 15*time.Second),
		semaphore("migrate", 1, 2, 15*time.Second),
		semaphore("export", 3, 0, 15*time.Second, holder("worker-3", ""), holder("worker-8", ""), holder("worker-9", "")),
		semaphore("mail\x1b[2J", 2, 0, 15*time.Second, holder("smtp\x07", "newsletter")),
	}
	f := &fleet{states: map[string]*lease.State{}}
	for _, s := range all {
		f.states[s.Name] = s
	}
	change := func(name string, to int, reason string) {
		s := f.states[name]
		s.Capacity, s.Resized, s.Paused = to, true, to == 0
		s.Override = lease.Override{By: "ops@bastion", At: noon.Add(-7 * time.Minute), Reason: reason, Before: -1}
	}
	change("thumbnails", 0, "new image library")
	change("api-search", 60, "black friday")
	change("export", 2, "")
	return f
}

// open makes a model of a given size, at noon.
func open(t *testing.T, f *fleet, width, height int) Model {
	t.Helper()
	m, err := New(t.Context(), Config{Fleet: f, Timeout: time.Second, Where: "redis.internal:6379"})
	if err != nil {
		t.Fatal(err)
	}
	m.now, m.seen, m.scanned = noon, noon, noon
	return send(m, tea.WindowSizeMsg{Width: width, Height: height})
}

// send gives messages to a model, and carries out the commands that follow, but for ticks.
func send(m Model, msgs ...tea.Msg) Model {
	for _, msg := range msgs {
		var cmd tea.Cmd
		m, cmd = m.Update(msg)
		m = carryOut(m, cmd)
	}
	return m
}

func carryOut(m Model, cmd tea.Cmd) Model {
	if cmd == nil {
		return m
	}
	switch msg := cmd().(type) {
	case tea.BatchMsg:
		for _, one := range msg[1:] { // the first one is the next tick
			m = carryOut(m, one)
		}
		return m
	case polled:
		msg.at = m.now
		return send(m, msg)
	default:
		return send(m, msg)
	}
}

// press types keys: names of keys, or characters.
func press(m Model, keys ...string) Model {
	for _, key := range keys {
		m = send(m, keyOf(key))
	}
	return m
}

func keyOf(name string) tea.KeyPressMsg {
	codes := map[string]rune{"up": tea.KeyUp, "down": tea.KeyDown, "enter": tea.KeyEnter, "esc": tea.KeyEscape, "backspace": tea.KeyBackspace, "end": tea.KeyEnd, "home": tea.KeyHome, "pgdown": tea.KeyPgDown}
	if code, is := codes[name]; is {
		return tea.KeyPressMsg{Code: code}
	}
	return tea.KeyPressMsg{Code: []rune(name)[0], Text: name}
}

var errAway = errors.New(`lease: summarize "gpu": dial tcp 10.0.0.7:6379: connect: connection refused`)
