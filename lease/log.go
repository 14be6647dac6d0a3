package lease

import (
	"context"
	"log/slog"
	"time"
)

// report logs the end of a lease that its holder did not ask for.
func (m *Manager) report(h *hold) {
	level, msg := slog.LevelWarn, "lease: lost"
	switch h.ending {
	case ErrClosed:
		return
	case ErrAbandoned:
		level, msg = slog.LevelError, "lease: collected without Release; time takes the permit"
	}
	m.log.Log(context.Background(), level, msg,
		"semaphore", h.semaphore.cfg.Name, "id", h.grant.id, "token", h.token, "reason", h.ending)
}

// note logs what a desk has noticed.
func (m *Manager) note(cfg *Config, n note) {
	switch n.kind {
	case noteMuted:
		m.warn(cfg.Name, "muted", "lease: this Redis user may not PUBLISH to "+inboxPrefix+"*: waiters of other processes learn of free permits by polling only", "semaphore", cfg.Name)
	case noteDisagree:
		m.warn(cfg.Name, "disagree", "lease: another process declares other limits for this semaphore; each is served by its own, unless Resize overrides them",
			"semaphore", cfg.Name, "capacity", cfg.Capacity, "ttl", cfg.TTL, "other_capacity", n.capacity, "other_ttl", time.Duration(n.ttl)*time.Millisecond)
	}
}

// warn logs a cause once per semaphore.
func (m *Manager) warn(name, cause, msg string, args ...any) {
	key := name + "\x00" + cause
	m.mu.Lock()
	known := m.said[key]
	m.said[key] = true
	m.mu.Unlock()
	if !known {
		m.log.Warn(msg, args...)
	}
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
