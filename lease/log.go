package lease

import (
	"context"
	"log/slog"
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
