package show

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/eqworks/passbuddy/internal/view"
	"github.com/eqworks/passbuddy/lease"
)

// A Source is what a Looker asks; a *lease.Manager is one.
type Source interface {
	Names(ctx context.Context) ([]string, error)
	Summaries(ctx context.Context, names ...string) ([]lease.Summary, error)
}

// RescanAfter is for how long the names that a scan has found serve for further looks.
const RescanAfter = time.Minute

// A Looker looks again and again at the semaphores whose names match one of its patterns. A scan of the server finds the
// names; without any pattern that stands for several names there is none. It is safe for concurrent use.
type Looker struct {
	source   Source
	patterns []string
	named    []string // what the patterns name, where none stands for several; nil: one does
}

// NewLooker makes a Looker. No pattern means all names. It fails where a pattern is malformed.
func NewLooker(source Source, patterns ...string) (*Looker, error) {
	if len(patterns) == 0 {
		patterns = []string{"*"}
	}
	l := &Looker{source: source, patterns: patterns}
	several := false
	for _, p := range patterns {
		if _, err := view.Match(p, ""); err != nil {
			return nil, fmt.Errorf("the pattern %q: %w (passbuddy ls --help says what one may have)", p, err)
		}
		several = several || strings.ContainsAny(p, `*?[\`)
	}
	if !several {
		l.named = slices.Compact(slices.Sorted(slices.Values(patterns)))
	}
	return l, nil
}

// Names returns the names that match, sorted. It waits for a scan of the server.
func (l *Looker) Names(ctx context.Context) ([]string, error) {
	if l.named != nil {
		return l.named, nil
	}
	all, err := l.source.Names(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(name string) bool { return !l.matches(name) }), nil
}

func (l *Looker) matches(name string) bool {
	return slices.ContainsFunc(l.patterns, func(p string) bool { ok, _ := view.Match(p, name); return ok })
}

// Look sums up these semaphores, in one pipeline.
func (l *Looker) Look(ctx context.Context, names []string) ([]view.Semaphore, error) {
	found, err := l.source.Summaries(ctx, names...)
	if err != nil {
		return nil, err
	}
	all := make([]view.Semaphore, len(found))
	for i, one := range found {
		all[i] = view.OfSummary(one)
	}
	return all, nil
}
