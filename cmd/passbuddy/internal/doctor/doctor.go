// Package doctor examines whether a Redis is fit for leases.
package doctor

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
)

// A Level is how bad a finding is.
type Level string

// The levels, the worst last but for Unknown.
const (
	OK      Level = "ok"
	Info    Level = "info"
	Unknown Level = "unknown" // the server does not tell
	Warning Level = "warning"
	Failure Level = "failure"
)

// A Finding is what one check has found.
type Finding struct {
	ID    string `json:"id"`
	Check string `json:"check"`
	Level Level  `json:"level"`
	Node  string `json:"node,omitempty"` // where there are several
	Found string `json:"found"`
	Why   string `json:"why,omitempty"` // it matters
	Do    string `json:"do,omitempty"`
}

// Plan is what is examined.
type Plan struct {
	URL      string
	Prefix   string
	Name     string        // of a semaphore; empty: all
	TTL      time.Duration // of the leases that are planned
	Duration time.Duration // for how long the round trip and the clock are watched
	Timeout  time.Duration // of one answer
	Only     []string      // ids of checks; empty: all
	Skip     []string
}

// A check looks at one thing. Its findings get its id and its title.
type check struct {
	id, title string
	look      func(context.Context, *examination) []Finding
}

// An examination is what the checks share.
type examination struct {
	Plan
	manager *lease.Manager
	nodes   []*node
	scratch string // the name of a semaphore of its own

	forbidden bool // the user may not run all scripts
}

// A node is a server that holds keys.
type node struct {
	addr   string
	client *redis.Client
	info   map[string]string // of INFO
	err    error             // why there is no info

	samples []sample // of its clock, when it has been watched
	watched error    // why there are no more
}

// checks in their order. The first decides whether there is anything to look at.
var checks = []check{
	{"01", "reachable", reachable},
	{"02", "version", version},
	{"03", "role", role},
	{"04", "permissions", permissions},
	{"10", "eviction", eviction},
	{"11", "memory", memory},
	{"12", "persistence", persistence},
	{"13", "replicas", replicas},
	{"20", "round trip", roundTrip},
	{"21", "clock", clock},
	{"22", "pauses", pauses},
	{"23", "script limit", scriptLimit},
	{"30", "pushes", pushes},
	{"31", "push buffers", pushBuffers},
	{"32", "idle connections", idle},
	{"33", "connections", connections},
	{"40", "semaphores", semaphores},
}

// IDs are those of all checks, with their titles.
func IDs() (list []string) {
	for _, c := range checks {
		list = append(list, c.id+" "+c.title)
	}
	return list
}

// Known reports whether there is a check with that id.
func Known(id string) bool {
	return slices.ContainsFunc(checks, func(c check) bool { return c.id == id })
}

// Examine carries out the checks and calls report with each finding. It writes only what belongs to a semaphore of its own,
// whose name begins with #doctor-, and removes it.
func Examine(ctx context.Context, p Plan, report func(Finding)) error {
	m, err := lease.Open(p.URL, lease.Options{Prefix: p.Prefix, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer m.Close()
	x := &examination{Plan: p, manager: m, scratch: "#doctor-" + uuid.NewString()}
	for _, c := range checks {
		// Without the first, nothing else can be said.
		if c.id != "01" && (len(p.Only) > 0 && !slices.Contains(p.Only, c.id) || slices.Contains(p.Skip, c.id)) {
			continue
		}
		found := c.look(ctx, x)
		for _, f := range found {
			f.ID, f.Check = c.id, c.title
			report(f)
		}
		if c.id == "01" && len(x.nodes) == 0 {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// each calls look with each node that has told of itself, and says where the findings are from.
func (x *examination) each(look func(*node) []Finding) (all []Finding) {
	for _, n := range x.nodes {
		found := []Finding{{Level: Unknown, Found: fmt.Sprintf("the server does not tell: %v", n.err), Do: "permit +info"}}
		if n.info != nil {
			found = look(n)
		}
		for _, f := range found {
			if len(x.nodes) > 1 {
				f.Node = n.addr
			}
			all = append(all, f)
		}
	}
	return all
}

func ok(format string, args ...any) []Finding {
	return []Finding{{Level: OK, Found: fmt.Sprintf(format, args...)}}
}

func unknown(format string, args ...any) []Finding {
	return []Finding{{Level: Unknown, Found: fmt.Sprintf(format, args...)}}
}

// bound is a context for one answer.
func (x *examination) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, x.Timeout)
}

// parseInfo reads "name:value" lines.
func parseInfo(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			fields[name] = value
		}
	}
	return fields
}
