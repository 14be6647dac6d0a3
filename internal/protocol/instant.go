package protocol

import (
	"sync/atomic"
	"time"
)

// Due reports whether at is set and has come.
func Due(now, at Instant) bool { return !at.IsZero() && now.Reached(at) }

// An Instant is a moment of this process's life, read from both of its clocks. The monotonic clock
// stands still while a laptop, a lambda or a virtual machine is suspended; the wall clock steps when
// somebody sets it. Time has passed when either says so: a step can cost a lease, and never keep one
// alive too long.
type Instant struct {
	Mono time.Duration // since the manager was made
	Wall time.Duration // since the Unix epoch
}

// Add returns the moment d later.
func (i Instant) Add(d time.Duration) Instant { return Instant{i.Mono + d, i.Wall + d} }

// IsZero reports whether i is unset. No reading is zero: the wall clock is far from the epoch, or the
// epoch is where a mock clock starts, and then Mono is shifted by one (see Manager.now).
func (i Instant) IsZero() bool { return i == Instant{} }

// Reached reports whether at has come, by either clock.
func (i Instant) Reached(at Instant) bool { return i.Mono >= at.Mono || i.Wall >= at.Wall }

// Until is the time left before at, by the clock that leaves less.
func (i Instant) Until(at Instant) time.Duration {
	return min(at.Mono-i.Mono, at.Wall-i.Wall)
}

// earlier returns the earlier of two instants, where zero means never.
func earlier(a, b Instant) Instant {
	if a.IsZero() || !b.IsZero() && b.Mono < a.Mono {
		return b
	}
	return a
}

// WindowEnd is the end of the trust window of a grant: by the clock of this process, and before Redis
// gives the permit away. A server that read its clock as now (µs) did so after the call was sent; the
// permit expires at expiry (ms) of the same clock; so it lives until sent + (expiry − now) at least.
// Counting from the reply instead would add the time that the reply took.
func WindowEnd(sent Instant, expiry, now int64, margin time.Duration) Instant {
	return sent.Add(time.Duration(expiry*1000-now)*time.Microsecond - margin)
}

// A window is an instant that is written under the state's lock and read without it. A reader that
// meets a write half-way sees a mixture of the old end and the new: it must ask under the lock before
// it calls a window ended.
type window struct{ mono, wall atomic.Int64 }

func (w *window) set(i Instant) {
	w.mono.Store(int64(i.Mono))
	w.wall.Store(int64(i.Wall))
}

func (w *window) End() Instant {
	return Instant{time.Duration(w.mono.Load()), time.Duration(w.wall.Load())}
}
