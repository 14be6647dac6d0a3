package lease

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/lease/scripts"
)

// What follows is for people who operate a fleet. Each call is a script of its own, sent at once; it
// waits for Redis, and ctx bounds it. All are safe for concurrent use. The methods of Manager need no Config: they take
// the name of a semaphore, and go by what the fleet declares.

// Names returns the names of the semaphores that have been used under the manager's prefix within a day, sorted. It
// SCANs the server, on a Cluster every master: the Redis user needs +scan. Names that come or go meanwhile may be missing.
func (m *Manager) Names(ctx context.Context) ([]string, error) {
	var mu sync.Mutex
	found := map[string]bool{}
	prefix := globQuote(m.prefix + "-")
	for _, keys := range []struct{ start, end, kind string }{{"", "", "zset"}, {"{", "}:fence", "string"}, {"{", "}:config", "hash"}} {
		err := m.transport.Scan(ctx, keys.start+prefix+"*"+keys.end, keys.kind, func(key string) {
			name := strings.TrimSuffix(strings.TrimPrefix(key, keys.start+m.prefix+"-"), keys.end)
			if badInKey(name) == "" {
				mu.Lock()
				found[name] = true
				mu.Unlock()
			}
		})
		if err != nil {
			return nil, &RedisError{Op: "names", Name: m.prefix, Err: err}
		}
	}
	delete(found, pingName)
	return slices.Sorted(maps.Keys(found)), nil
}

// globQuote quotes what means something in a pattern of SCAN.
func globQuote(s string) string {
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(s)
}

// named is a handle for operators, who declare nothing.
func (m *Manager) named(name string) (*Semaphore, error) {
	if name == "" {
		return nil, &OptionError{"name", "", "pass the name of a semaphore; Names lists them"}
	}
	if problem := badInKey(name); problem != "" {
		return nil, &OptionError{"name", name, problem}
	}
	return &Semaphore{manager: m, cfg: Config{Name: name}, keys: scripts.KeysOf(m.prefix, name, minTTL, 1)}, nil
}

// Inspect is Semaphore.Inspect by name. Capacity is what an operator has set, or what the process with the latest grant
// declares; 0 where nobody has.
func (m *Manager) Inspect(ctx context.Context, name string) (*State, error) {
	s, err := m.named(name)
	if err != nil {
		return nil, err
	}
	return s.Inspect(ctx)
}

// Resize is Semaphore.Resize by name.
func (m *Manager) Resize(ctx context.Context, name string, n int, opts ...ChangeOption) error {
	s, err := m.named(name)
	if err != nil {
		return err
	}
	return s.Resize(ctx, n, opts...)
}

// Pause is Semaphore.Pause by name.
func (m *Manager) Pause(ctx context.Context, name string, opts ...ChangeOption) error {
	s, err := m.named(name)
	if err != nil {
		return err
	}
	return s.Pause(ctx, opts...)
}

// Resume is Semaphore.Resume by name. What comes free by it goes to those who wait, as with ResetCapacity.
func (m *Manager) Resume(ctx context.Context, name string) error {
	s, err := m.declared(ctx, name)
	if err != nil {
		return err
	}
	return s.Resume(ctx)
}

// ResetCapacity is Semaphore.ResetCapacity by name. What comes free by it goes to those who wait up to the capacity that
// the process with the latest grant declares.
func (m *Manager) ResetCapacity(ctx context.Context, name string) error {
	s, err := m.declared(ctx, name)
	if err != nil {
		return err
	}
	return s.ResetCapacity(ctx)
}

// declared is a handle that declares what the process with the latest grant does.
func (m *Manager) declared(ctx context.Context, name string) (*Semaphore, error) {
	s, err := m.named(name)
	if err != nil {
		return nil, err
	}
	all, err := m.Summaries(ctx, name)
	if err != nil {
		return nil, err
	}
	s.keys = scripts.KeysOf(m.prefix, name, minTTL, max(all[0].OtherDeclared, 1))
	return s, nil
}

// Revoke is Semaphore.Revoke by name.
func (m *Manager) Revoke(ctx context.Context, name, id string) error {
	s, err := m.named(name)
	if err != nil {
		return err
	}
	return s.Revoke(ctx, id)
}

// Resize sets the capacity for the whole fleet, whatever the processes declare: each follows at its next
// call. It lasts until ResetCapacity, through deploys and restarts. What it makes room for goes to
// those who wait, at once; it takes nothing away: a capacity that shrinks is reached as holders release.
// Requests that are heavier than n are refused. Zero stops the fleet as Pause does, but Resume does not know what was before.
func (s *Semaphore) Resize(ctx context.Context, n int, opts ...ChangeOption) error {
	if n < 0 || n > maxCapacity {
		return &OptionError{"capacity", n, fmt.Sprintf("must be from 0 to %d; 0 pauses", maxCapacity)}
	}
	if s.made() == nil && s.cfg.Slots && n > maxSlots {
		return &OptionError{"capacity", n, fmt.Sprintf("must be at most %d with Slots", maxSlots)}
	}
	reason, err := reasonOf(opts)
	if err != nil {
		return err
	}
	return s.resize(ctx, func() []any { return scripts.ResizeArguments(n, s.manager.owner, reason) })
}

// Pause stops the fleet from taking new permits, until Resume, Resize or ResetCapacity. Who holds one keeps it;
// who waits goes on waiting.
func (s *Semaphore) Pause(ctx context.Context, opts ...ChangeOption) error {
	reason, err := reasonOf(opts)
	if err != nil {
		return err
	}
	return s.resize(ctx, func() []any { return scripts.PauseArguments(s.manager.owner, reason) })
}

// Resume ends a Pause: the capacity is again what it was before, by an earlier Resize or as processes declare it. Where
// nothing is paused it changes nothing.
func (s *Semaphore) Resume(ctx context.Context) error {
	return s.resize(ctx, func() []any { return scripts.ResumeArguments(s.manager.owner) })
}

// ResetCapacity removes what Resize and Pause have set: the capacity that processes declare counts again.
func (s *Semaphore) ResetCapacity(ctx context.Context) error {
	return s.resize(ctx, scripts.ResetArguments)
}

// A ChangeOption says more of what an operator changes.
type ChangeOption func(*changeOptions)

type changeOptions struct{ reason string }

// Reason says why, for whoever looks later: Inspect shows it. 200 bytes at most.
func Reason(text string) ChangeOption { return func(o *changeOptions) { o.reason = text } }

func reasonOf(opts []ChangeOption) (string, error) {
	var o changeOptions
	for _, opt := range opts {
		if opt == nil {
			return "", &OptionError{"option", "nil", "leave it out"}
		}
		opt(&o)
	}
	if len(o.reason) > 200 || !utf8.ValidString(o.reason) || strings.ContainsFunc(o.reason, unicode.IsControl) {
		return "", &OptionError{"reason", o.reason, "at most 200 bytes of UTF-8 without control characters"}
	}
	return o.reason, nil
}

func (s *Semaphore) resize(ctx context.Context, arguments func() []any) error {
	if err := s.made(); err != nil {
		return err
	}
	for {
		status := scripts.Status(0)
		err := s.run(ctx, scripts.Resize, func(reply []any) (err error) {
			status, err = scripts.ResizeReply(reply)
			return err
		}, arguments()...)
		if err != nil || !status.Has(scripts.More) {
			return err
		}
	}
}

// Revoke takes the permit with the given id away from its holder, whose contexts end with a *LostError
// (LossRevoked): at once if this process holds it or a notification reaches the holder, otherwise at its next
// renewal. Nobody else gets the permit before the holder has released it or its time is up.
//
// Inspect lists the ids. ErrUnknownID: nobody holds it, perhaps no more. Revoking it again does nothing.
func (s *Semaphore) Revoke(ctx context.Context, id string) error {
	if id == "" {
		return &OptionError{"id", id, "pass the id of a holder, as Inspect lists it"}
	}
	id, _ = grantOf(id) // who looks into Redis sees members: one of them must not be revoked alone
	if !validWeight(id) {
		return fmt.Errorf("%w: %q is no id of this library's", ErrUnknownID, id)
	}
	var outcome scripts.Revocation
	err := s.run(ctx, scripts.Revoke, func(reply []any) (err error) {
		outcome, err = scripts.RevokeReply(reply)
		return err
	}, scripts.RevokeArguments(id)...)
	if err != nil {
		return err
	}
	switch outcome {
	case scripts.NotHeld:
		return fmt.Errorf("%w: nobody holds %q in semaphore %q", ErrUnknownID, id, s.cfg.Name)
	case scripts.OnlyWaits:
		return fmt.Errorf("%w: %q waits in semaphore %q and holds nothing", ErrUnknownID, id, s.cfg.Name)
	}
	s.manager.notified(s.cfg.Name, protocol.Notification{Kind: protocol.Withdrawn, ID: id}) // it may be this process's own, which need not listen
	return nil
}

// A State is what Inspect found.
type State struct {
	Name       string
	ServerTime time.Time // by the server's clock, as are the other times, unless they say otherwise

	Capacity int      // in force
	Resized  bool     // by Resize or Pause; otherwise it is the declared one
	Paused   bool     // Resized to 0
	Override Override // where Resized
	Held     int      // permits that count against it

	Declared      int           // the capacity in this handle's Config; 0: of Manager.Inspect
	DeclaredTTL   time.Duration // and its TTL
	OtherDeclared int           // the capacity that the process with the latest grant declared; 0: none yet
	OtherTTL      time.Duration // and its TTL

	Holders []Holder         // by expiry
	Waiters []Waiter         // in order of arrival
	Waiting []WaitingProcess // in the order of their first place
}

// An Override is what an operator has set.
type Override struct {
	By     string    // the Owner of the manager that set it; empty, as the others: an older version did
	At     time.Time // by the server's clock
	Reason string
	Before int // while Paused, what Resume will set again; negative: what the processes declare
}

func overrideOf(c scripts.Change) Override {
	o := Override{By: c.By, Reason: c.Reason, Before: int(c.Before)}
	if c.At > 0 {
		o.At = time.UnixMicro(c.At)
	}
	return o
}

// A Holder is a grant that counts.
type Holder struct {
	ID      string
	Owner   string // empty: not this library's
	Label   string // of the acquire
	Slots   []int  // in ascending order; nil: none
	Weight  int
	Expires time.Time
	AskedAt time.Time // by the holder's clock; zero if its id does not say
	Revoked bool      // its holder has not given it back yet
}

// A WaitingProcess has callers that wait.
type WaitingProcess struct {
	Owner   string
	Places  int // of its callers in the shared queue, which are Waiters
	Callers int // that wait, as the process said when it polled last; at least Places
}

// A Waiter stands in the shared queue. A process registers no more of its callers than could be served
// together, and one more: WaitingProcess says how many there are.
type Waiter struct {
	ID         string
	Owner      string
	Label      string // of the acquire
	Weight     int
	Place      int // from 1
	Since      time.Time
	AliveUntil time.Time // unless its process polls again; in the past: it is skipped
}

// Inspect shows who holds permits, who waits for them, and which capacity is in force. It writes nothing.
// A large semaphore takes several calls, each of which shows up to 500 of both: what moves meanwhile may
// be missing, and nothing is listed twice.
func (s *Semaphore) Inspect(ctx context.Context) (*State, error) {
	if err := s.made(); err != nil {
		return nil, err
	}
	const page = 500
	state := &State{Name: s.cfg.Name, Capacity: s.cfg.Capacity, Declared: s.cfg.Capacity, DeclaredTTL: s.cfg.TTL}
	processes := map[string]int{}                                                        // by owner, their place in state.Waiting
	members, holders, waiters := map[string]bool{}, map[string]bool{}, map[string]bool{} // which are counted, and listed
	slots := map[string][]int{}                                                          // by id
	for h, w := 0, 0; h >= 0 || w >= 0; {
		var r scripts.Inspected
		err := s.run(ctx, scripts.Inspect, func(reply []any) (err error) {
			r, err = scripts.InspectReply(reply)
			return err
		}, scripts.InspectArguments(h, w, page)...)
		if err != nil {
			return nil, err
		}
		state.ServerTime = time.UnixMicro(r.ServerTime)
		switch {
		case r.Override >= 0:
			state.Capacity, state.Resized, state.Paused, state.Override = int(r.Override), true, r.Override == 0, overrideOf(r.Change)
		case s.cfg.Capacity == 0: // an operator's handle
			state.Capacity = int(r.OtherCapacity)
		}
		state.OtherDeclared = int(r.OtherCapacity)
		state.OtherTTL = time.Duration(r.OtherTTL) * time.Millisecond
		for _, member := range r.Members {
			state.addHolder(members, holders, member.Name, member.Expiry, r.ServerTime)
			name := strings.TrimPrefix(member.Name, "revoked,")
			if slot, has := r.Slots[name]; has {
				id, _ := grantOf(name)
				if at, isListed := slices.BinarySearch(slots[id], slot); !isListed {
					slots[id] = slices.Insert(slots[id], at, slot)
				}
			}
		}
		for _, q := range r.Waiters {
			if !waiters[q.ID] {
				waiters[q.ID] = true
				state.addWaiting(processes, ownerIn(q.ID), int(q.Callers))
				state.Waiters = append(state.Waiters, Waiter{
					ID: q.ID, Owner: ownerIn(q.ID), Label: labelIn(q.ID), Weight: weightOf(q.ID), Place: len(state.Waiters) + 1,
					Since: time.UnixMicro(q.Arrival), AliveUntil: time.UnixMilli(q.AliveUntil),
				})
			}
		}
		h, w = next(h, len(r.Members), page), next(w, len(r.Waiters), page)
	}
	for i := range state.Holders {
		state.Holders[i].Slots = slots[state.Holders[i].ID]
	}
	return state, nil
}

// next is the rank at which the next page begins, negative when there is none.
func next(rank, got, page int) int {
	if rank < 0 || got < page {
		return -1
	}
	return rank + got
}

// addWaiting counts a place of owner's in the queue.
func (s *State) addWaiting(listed map[string]int, owner string, callers int) {
	i, known := listed[owner]
	if !known {
		i = len(s.Waiting)
		listed[owner] = i
		s.Waiting = append(s.Waiting, WaitingProcess{Owner: owner})
	}
	p := &s.Waiting[i]
	p.Places++
	p.Callers = max(p.Callers, callers, p.Places)
}

func (s *State) addHolder(counted, listed map[string]bool, member string, expiry, now int64) {
	if expiry*1000 <= now {
		return
	}
	if counted[member] { // renewed since, and so again on a later page
		return
	}
	counted[member] = true
	s.Held++
	id, revoked := grantOf(member)
	if listed[id] {
		return
	}
	listed[id] = true
	s.Holders = append(s.Holders, Holder{
		ID: id, Owner: ownerIn(id), Label: labelIn(id), Weight: weightOf(id), Expires: time.UnixMilli(expiry), AskedAt: askedAt(id), Revoked: revoked,
	})
}

// run executes one of the scripts for people, and has read read its reply.
func (s *Semaphore) run(ctx context.Context, v scripts.Verb, read func(reply []any) error, args ...any) error {
	if err := s.made(); err != nil {
		return err
	}
	m := s.manager
	if m.isClosed() {
		return ErrClosed
	}
	reply, err := m.transport.Script(ctx, s.keys, v, args...)
	if err == nil {
		err = read(reply)
	}
	if err != nil {
		return &RedisError{Op: v.String(), Name: s.cfg.Name, Err: err}
	}
	return nil
}
