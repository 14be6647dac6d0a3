package lease

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/lease/scripts"
)

// report logs the end of a lease that its holder did not ask for.
func (m *Manager) report(h *hold) {
	level, msg := slog.LevelWarn, "lease: lost"
	switch h.Ending.Kind {
	case protocol.Closed:
		return
	case protocol.Abandoned:
		level, msg = slog.LevelError, "lease: collected without Release; time takes the permit"
	}
	m.log.Log(context.Background(), level, msg,
		"semaphore", h.semaphore.cfg.Name, "id", h.Grant.ID, "token", h.Token, "reason", h.errorOf(h.Ending))
}

// note logs what a state has noticed.
func (m *Manager) note(cfg *Config, n protocol.Warning) {
	switch n.Kind {
	case protocol.Muted:
		m.warn(cfg.Name, "muted", "lease: this Redis user may not PUBLISH to "+scripts.Channel+"*: waiters of other processes learn of free permits by polling only", "semaphore", cfg.Name)
	case protocol.NoSlots:
		m.warn(cfg.Name, "slots", "lease: another process of this semaphore does not set Slots; set it in all: who waits here needs one more trip for its slot, and the other's leases have none", "semaphore", cfg.Name)
	case protocol.Disagreement:
		m.warn(cfg.Name, "disagree", "lease: another process declares other limits for this semaphore; each is served by its own, unless Resize overrides them",
			"semaphore", cfg.Name, "capacity", cfg.Capacity, "ttl", cfg.TTL, "other_capacity", n.Capacity, "other_ttl", n.TTL)
	}
}

// What the log is told of one cause: the first semaphores by name, in each period.
const (
	maxNamed   = 10
	saidPeriod = time.Minute
)

// A said is which semaphores the log knows of one cause.
type said struct {
	since protocol.Instant
	names []string
	more  bool // and that there are others
}

// warn logs a cause once per semaphore and period, for the first semaphores; that there are more, it logs once. So
// what is remembered and logged is bounded, whatever the number of names.
func (m *Manager) warn(name, cause, msg string, args ...any) {
	now := m.now()
	m.mu.Lock()
	known := m.said[cause]
	if known == nil || now.Reached(known.since.Add(saidPeriod)) {
		known = &said{since: now}
		m.said[cause] = known
	}
	if known.more || slices.Contains(known.names, name) {
		m.mu.Unlock()
		return
	}
	known.more = len(known.names) == maxNamed
	more := known.more
	if !more {
		known.names = append(known.names, name)
	}
	m.mu.Unlock()
	if more {
		args = append(args, "and_more", "other semaphores are not named for a minute")
	}
	m.log.Warn(msg, args...)
}

// warnAndAbove is the default logger's filter.
type warnAndAbove struct{ slog.Handler }

func (h warnAndAbove) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn && h.Handler.Enabled(ctx, l)
}

func (h warnAndAbove) WithAttrs(a []slog.Attr) slog.Handler {
	return warnAndAbove{h.Handler.WithAttrs(a)}
}
func (h warnAndAbove) WithGroup(n string) slog.Handler { return warnAndAbove{h.Handler.WithGroup(n)} }
