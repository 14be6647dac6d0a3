// Package operate carries out what operators do to a semaphore, and says what it has changed: for the commands and for the
// live view.
package operate

import (
	"context"
	"fmt"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/show"
	"github.com/eqworks/passbuddy/internal/view"
	"github.com/eqworks/passbuddy/lease"
)

// A Fleet is what operators act on; a *lease.Manager is one.
type Fleet interface {
	Summaries(ctx context.Context, names ...string) ([]lease.Summary, error)
	Resize(ctx context.Context, name string, n int, opts ...lease.ChangeOption) error
	ResetCapacity(ctx context.Context, name string) error
	Pause(ctx context.Context, name string, opts ...lease.ChangeOption) error
	Resume(ctx context.Context, name string) error
	Revoke(ctx context.Context, name, id string) error
}

// A Change is what has been done to a capacity.
type Change struct {
	Schema int    `json:"schema"`
	Name   string `json:"name"`
	Did    string `json:"did"`
	Before int    `json:"capacity_before"`
	After  int    `json:"capacity_after"`
	Undo   string `json:"undo,omitempty"` // the command that does so

	Held int `json:"-"`
}

// String is the change for people.
func (c Change) String() string {
	return fmt.Sprintf("%s: capacity %d → %d, %d held", show.Line(c.Name), c.Before, c.After, c.Held)
}

// Capacity carries out act, which changes the capacity in force, and says what that has changed. check may refuse; nil: it
// does not. Where act has succeeded and Redis does not answer afterwards, the error says so.
func Capacity(ctx context.Context, fleet Fleet, name, did string, check func(before view.Semaphore) error, act func(context.Context) error) (Change, error) {
	before, err := summary(ctx, fleet, name)
	if err == nil && check != nil {
		err = check(before)
	}
	if err != nil {
		return Change{}, err
	}
	if err := act(ctx); err != nil {
		return Change{}, err
	}
	after, err := summary(ctx, fleet, name)
	if err != nil {
		return Change{}, fmt.Errorf("it is done; what it has changed is not known: %w", err)
	}
	c := Change{view.Schema, name, did, before.Capacity, after.Capacity, "", after.Held}
	if c.Before != c.After {
		c.Undo = undo(name, did, before)
	}
	return c, nil
}

// undo is the command that brings back what was before; empty: there is none, because a pause that a resize has ended cannot
// be brought back with what it had interrupted.
func undo(name, did string, before view.Semaphore) string {
	switch {
	case did == "pause":
		return "passbuddy resume " + show.Quoted(name)
	case did == "resume":
		return "passbuddy pause " + show.Quoted(name)
	case before.State == view.Paused:
		return ""
	case before.Override != nil:
		return fmt.Sprintf("passbuddy resize %s %d", show.Quoted(name), before.Capacity)
	}
	return "passbuddy resize " + show.Quoted(name) + " --reset"
}

func summary(ctx context.Context, fleet Fleet, name string) (view.Semaphore, error) {
	all, err := fleet.Summaries(ctx, name)
	if err != nil {
		return view.Semaphore{}, err
	}
	return view.OfSummary(all[0]), nil
}
