package leaseweb

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/eqworks/passbuddy/internal/view"
	"github.com/eqworks/passbuddy/lease"
)

const (
	// fresh is for how long an answer of Redis serves all who ask the same: so Redis is asked four times a second at
	// most, however many people load pages.
	fresh = 250 * time.Millisecond
	// forgetAfter is for how long the past of a semaphore that nobody looks at is kept.
	forgetAfter = 15 * time.Minute
)

// A source asks Redis, and keeps the answers and what they have been in the last minutes.
type source struct {
	// immutable
	manager *lease.Manager
	timeout time.Duration
	turn    chan struct{}   // whoever asks has put something in
	ctx     context.Context // ends with shutdown
	cancel  context.CancelFunc
	wg      sync.WaitGroup // the scan

	mu       sync.Mutex
	names    []string
	scan     scan
	records  map[string]*record // by name
	seen     time.Time          // when Redis last answered for the list
	failure  error              // of the latest attempt for the list; nil: it was answered
	failedAt time.Time
}

// A record is what is known of one semaphore.
type record struct {
	wanted  time.Time // when somebody last looked at it
	summary view.Semaphore
	at      time.Time // of the summary, by this process's clock
	past    past
	limits  limits

	state    *lease.State // nil: nobody has looked at its page
	stateAt  time.Time
	stateErr error // of the latest attempt
	lanes    lanes
}

func newSource(manager *lease.Manager, timeout time.Duration) *source {
	s := &source{manager: manager, timeout: timeout, turn: make(chan struct{}, 1), records: map[string]*record{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func (s *source) shutdown() {
	s.mu.Lock() // no scan begins from now on
	s.cancel()
	s.mu.Unlock()
	s.wg.Wait()
}

// refresh asks Redis for all that the pages show, as far as it is not fresh. It waits for Redis, not longer than ctx and
// the timeout; what could not be had is old, and the source knows why.
func (s *source) refresh(ctx context.Context, pages []page) {
	var names []string
	for _, p := range pages {
		if p.name == "" {
			s.lookForNames(ctx)
			shown := s.shown(p)
			if len(shown) == 0 {
				shown = []string{readyName} // the list says whether Redis answers all the same
			}
			names = append(names, shown...)
		}
	}
	slices.Sort(names)
	s.lookAt(ctx, slices.Compact(names))
	asked := map[string]bool{}
	for _, p := range pages {
		if p.name != "" && !asked[p.name] {
			asked[p.name] = true
			s.lookInto(ctx, p.name)
		}
	}
}

// answered and failed note how the latest attempt for the list ended. s.mu is held.
func (s *source) answered(at time.Time) {
	if s.failure != nil {
		s.scan.last = time.Time{} // a server that has been away may have other names
	}
	s.seen, s.failure = at, nil
}

func (s *source) failed(err error, at time.Time) { s.failure, s.failedAt = err, at }

// take waits for the turn to ask.
func (s *source) take(ctx context.Context) bool {
	select {
	case s.turn <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// asking is the context of a question to Redis. It does not end with the request that has it asked: the answer serves
// others, and a browser that goes away is no trouble of Redis's.
func (s *source) asking() (context.Context, context.CancelFunc) {
	return context.WithTimeout(s.ctx, s.timeout)
}

// lookAt sums up the semaphores whose summaries are not fresh.
func (s *source) lookAt(ctx context.Context, names []string) {
	if len(names) == 0 || !s.take(ctx) {
		return
	}
	defer func() { <-s.turn }()
	now := time.Now()
	var old []string
	s.mu.Lock()
	if s.failure == nil || now.Sub(s.failedAt) >= fresh {
		for _, name := range names {
			r := s.record(name)
			r.wanted = now
			if now.Sub(r.at) >= fresh {
				old = append(old, name)
			}
		}
	}
	s.mu.Unlock()
	if len(old) == 0 {
		return
	}
	call, cancel := s.asking()
	defer cancel()
	found, err := s.manager.Summaries(call, old...)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.failed(err, time.Now())
		return
	}
	s.answered(time.Now())
	for _, one := range found {
		r := s.record(one.Name)
		r.summary, r.at = view.OfSummary(one), now
		r.saw(now)
	}
}

// lookInto inspects one semaphore, unless what is known of it is fresh.
func (s *source) lookInto(ctx context.Context, name string) {
	if !s.take(ctx) {
		return
	}
	defer func() { <-s.turn }()
	now := time.Now()
	s.mu.Lock()
	r := s.record(name)
	r.wanted = now
	isFresh := now.Sub(r.stateAt) < fresh
	s.mu.Unlock()
	if isFresh {
		return
	}
	call, cancel := s.asking()
	defer cancel()
	state, err := s.manager.Inspect(call, name)
	s.mu.Lock()
	defer s.mu.Unlock()
	r = s.record(name) // the scan may have forgotten the other
	r.wanted = now
	if r.stateErr = err; err != nil {
		return
	}
	r.state, r.stateAt = state, now
	r.summary, r.at = view.OfState(state, 0).Semaphore, now
	r.saw(now)
	r.lanes.observe(state)
}

// record is that of a name. s.mu is held.
func (s *source) record(name string) *record {
	r := s.records[name]
	if r == nil {
		if len(s.records) > 2*len(s.names)+1000 { // somebody asks for names that do not exist
			clear(s.records)
		}
		r = &record{summary: view.Semaphore{Name: name}}
		s.records[name] = r
	}
	return r
}

// saw adds the summary to the past.
func (r *record) saw(now time.Time) {
	if r.summary.State == view.Failed {
		return
	}
	r.past.add(r.summary)
	r.limits.saw(r.summary, now)
}

// unknown reports whether Redis has said that there is no such semaphore.
func (s *source) unknown(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.records[name]
	return r != nil && r.state != nil && !r.summary.Known
}

// touch has the next who asks get a new answer: something has just been changed. A lease that was revoked is said: its
// holder may give it back before anybody looks again.
func (s *source) touch(name, revoked string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.records[name]; r != nil {
		r.at, r.stateAt = time.Time{}, time.Time{}
		r.lanes.revoke(revoked)
	}
}

// readyName is looked at to see whether Redis answers. Nobody needs to use it.
const readyName = "passbuddy-page"

// ready reports why Redis does not answer.
func (s *source) ready(ctx context.Context) error {
	s.lookAt(ctx, []string{readyName})
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.trouble(true, s.seen, s.failure)
}
