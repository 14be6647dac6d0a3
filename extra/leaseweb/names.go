package leaseweb

import (
	"context"
	"maps"
	"strings"
	"time"

	"github.com/eqworks/passbuddy/internal/view"
)

// namesEvery is how often names are looked for: that is a SCAN of the whole server.
const namesEvery = time.Minute

// A scan looks for names.
type scan struct {
	underWay chan struct{} // closed at its end; nil: none is
	began    time.Time
	took     time.Duration
	last     time.Time // when one was done; zero: a new one is due
	known    bool      // one was done, ever
}

// shown are the names that must be asked for to show a page of the list: those on it, or all that match where only their
// counts say which these are.
func (s *source) shown(p page) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := s.matching(p.search)
	if p.order == "name" {
		names, _ = cut(names, p.number, perPage)
	}
	return names
}

// matching are the names that contain what is searched for, or match it where it is a pattern. s.mu is held.
func (s *source) matching(search string) []string {
	if search == "" {
		return s.names
	}
	lower := strings.ToLower(search)
	fits := func(name string) bool { return strings.Contains(strings.ToLower(name), lower) }
	if _, err := view.Match(search, ""); err == nil && strings.ContainsAny(search, "*?[") {
		fits = func(name string) bool { ok, _ := view.Match(search, name); return ok }
	}
	var names []string
	for _, name := range s.names {
		if fits(name) {
			names = append(names, name)
		}
	}
	return names
}

// lookForNames has a scan begin where the last is a minute old, or ten times as old as it took. It waits only where no
// names are known.
func (s *source) lookForNames(ctx context.Context) {
	s.mu.Lock()
	now := time.Now()
	again := fresh
	if s.scan.known {
		again = slow
	}
	due := now.Sub(s.scan.last) >= max(namesEvery, 10*s.scan.took) && now.Sub(s.scan.began) >= again
	if due && s.scan.underWay == nil && s.ctx.Err() == nil {
		s.scan.underWay, s.scan.began = make(chan struct{}), now
		s.wg.Go(s.scanNames)
	}
	wait, known := s.scan.underWay, s.scan.known
	s.mu.Unlock()
	if wait != nil && !known {
		select {
		case <-wait:
		case <-ctx.Done():
		}
	}
}

func (s *source) scanNames() {
	ctx, cancel := context.WithTimeout(s.ctx, 10*s.timeout) // a large keyspace takes a while
	defer cancel()
	names, err := s.manager.Names(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.scan.underWay)
	s.scan.underWay = nil
	now := time.Now()
	if err != nil {
		if !s.scan.known { // else the summaries say whether Redis answers
			s.failed(err, now)
		}
		return
	}
	s.names, s.scan.known, s.scan.last, s.scan.took = names, true, now, now.Sub(s.scan.began)
	maps.DeleteFunc(s.records, func(_ string, r *record) bool { return now.Sub(r.wanted) > forgetAfter })
}
