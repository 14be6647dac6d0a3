package lease

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/eqworks/passbuddy/lease/scripts"
)

// What operators see: Names, Inspect and Summaries. Each waits for Redis, ctx bounds it, it writes nothing, and it is safe
// for concurrent use. The methods of Manager need no Config: they take the name of a semaphore, and go by what the fleet declares.

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

// Inspect is Semaphore.Inspect by name. Capacity is what an operator has set, or what the process with the latest grant
// declares; 0 where nobody has.
func (m *Manager) Inspect(ctx context.Context, name string) (*State, error) {
	s, err := m.named(name)
	if err != nil {
		return nil, err
	}
	return s.Inspect(ctx)
}

// A Summary is what Summaries found of one semaphore: the counts of a State, without the lists.
type Summary struct {
	Name string
	Err  error // why this one could not be looked at; the rest is then zero

	ServerTime    time.Time     // by the server's clock, as are the other times
	Capacity      int           // in force; 0 where nobody has declared any
	Resized       bool          // by Resize or Pause; otherwise it is the declared one
	Paused        bool          // Resized to 0
	Override      Override      // where Resized
	OtherDeclared int           // the capacity that the process with the latest grant declared; 0: none yet
	OtherTTL      time.Duration // and its TTL

	Held        int       // permits that count against the capacity
	NextExpiry  time.Time // of these, unless it is renewed; zero: none is held
	Places      int       // in the shared queue
	Callers     int       // that wait; at least Places. Of a queue of more than a hundred places, more may
	FirstSince  time.Time // when the first of the queue whose process lives began to wait; zero: nobody
	FirstWeight int       // and how many permits it wants
}

// Summaries looks at many semaphores at once, each by one script that reads a few counts, in pipelines of 200. It writes
// nothing. It waits for Redis, and ctx bounds it. It may be used concurrently.
//
// The result has one entry for each name, in their order. What stands in the way of one name, such as a key of another
// type, is in that entry's Err; what stands in the way of all of them is the error.
func (m *Manager) Summaries(ctx context.Context, names ...string) ([]Summary, error) {
	keys := make([]*scripts.Keys, len(names))
	for i, name := range names {
		s, err := m.named(name)
		if err != nil {
			return nil, err
		}
		keys[i] = s.keys
	}
	if m.isClosed() {
		return nil, ErrClosed
	}
	all := make([]Summary, len(names))
	var failure error
	failed := 0
	m.transport.Scripts(ctx, keys, scripts.Summarize, func(i int, reply []any, err error) {
		var r scripts.Summary
		if err == nil {
			r, err = scripts.SummarizeReply(reply)
		}
		if err != nil {
			all[i] = Summary{Name: names[i], Err: &RedisError{Op: scripts.Summarize.String(), Name: names[i], Err: err}}
			failed++
			failure = all[i].Err
			return
		}
		all[i] = summaryOf(names[i], r)
	})
	if failed > 0 && failed == len(names) {
		return nil, failure
	}
	return all, nil
}

func summaryOf(name string, r scripts.Summary) Summary {
	s := Summary{
		Name: name, ServerTime: time.UnixMicro(r.ServerTime), Capacity: int(r.OtherCapacity), OtherDeclared: int(r.OtherCapacity),
		OtherTTL: time.Duration(r.OtherTTL) * time.Millisecond, Held: int(r.Held), Places: int(r.Places), Callers: int(r.Callers),
		FirstWeight: int(r.FirstWeight),
	}
	if r.Override >= 0 {
		s.Capacity, s.Resized, s.Paused, s.Override = int(r.Override), true, r.Override == 0, overrideOf(r.Change)
	}
	if r.NextExpiry > 0 {
		s.NextExpiry = time.UnixMilli(r.NextExpiry)
	}
	if r.FirstArrival > 0 {
		s.FirstSince = time.UnixMicro(r.FirstArrival)
	}
	return s
}
