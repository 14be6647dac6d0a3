package protocol

import (
	"sync/atomic"
	"time"
)

// An instant is a moment of this process's life, read from both of its clocks. The monotonic clock
// stands still while a laptop, a lambda or a virtual machine is suspended; the wall clock steps when
// somebody sets it. Time has passed when either says so: a step can cost a lease, and never keep one
// alive too long.
type Instant struct {
	Mono time.Duration // since the manager was made
	Wall time.Duration // since the Unix epoch
}

func (i Instant) Add(d time.Duration) Instant { return Instant{i.Mono + d, i.Wall + d} }

// isZero reports whether i is unset. No reading is zero: the wall clock is far from the epoch, or the
// epoch is where a mock clock starts, and then mono is shifted by one (see Manager.now).
func (i Instant) IsZero() bool { return i == Instant{} }

// reached reports whether at has come, by either clock.
func (i Instant) Reached(at Instant) bool { return i.Mono >= at.Mono || i.Wall >= at.Wall }

// until is the time left before at, by the clock that leaves less.
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

// windowEnd is the end of the trust window of a grant: by the clock of this process, and before Redis
// gives the permit away. A server that read its clock as now (µs) did so after the call was sent; the
// permit expires at expiry (ms) of the same clock; so it lives until sent + (expiry − now) at least.
// Counting from the reply instead would add the time that the reply took.
func WindowEnd(sent Instant, expiry, now int64, margin time.Duration) Instant {
	return sent.Add(time.Duration(expiry*1000-now)*time.Microsecond - margin)
}

// The life of a grant. It moves forward only, so an id serves one grant and then never again.
type grantState uint8

const (
	asked     grantState = iota // in a request, or about to be
	Held                        // renewed, trusted until its window ends
	ended                       // no longer renewed or trusted; Redis may count it until its time is up
	releasing                   // to be given back
	gone                        // given back, lost, or expired
)

// A grant is what Redis gives this process under one id. Its desk guards it, all but until, which the
// lease's context reads without a lock.
type Grant struct {
	ID     string
	Until  window // end of the trust window
	Weight int32  // how many permits
	index  int32  // in the desk's list of held or owed grants
	token  int64  // server µs of the grant
	at     Instant
	handed int32 // how often it was handed over inside this process
	State  grantState

	queued   bool // it may be in the shared queue
	waits    bool // Redis has said that it is
	released bool // a release of it was sent: the id is never used again
	final    bool // and when it left, no request could take a permit for g any more
	deferred bool // owed: its waiter was served otherwise; there is no hurry

	unanswered int32   // requests for it that no reply has settled
	lateBy     Instant // when those requests have come too late to take a permit
	releaseAt  Instant // owed: when the release is sent next
	expiresBy  Instant // owed: when its time is up in any case

	waiter  *Waiter  // who asked for it; nil once served
	Holding *Holding // of the lease that it is for; nil when nobody has to be told
}

// A holding is what the desk knows of a lease.
type Holding struct {
	// immutable
	Holder  holder
	MaxHold time.Duration // 0: no limit

	// the desk's, until the lease is made, and then immutable
	Grant  *Grant
	Token  int64
	EndsAt Instant // MaxHold; zero: none
	began  time.Duration

	// the desk's
	Ending    *Reason       // why it took the permit away
	Confirmed chan struct{} // closed when result is there; nil: nobody waits
	Result    *Reason       // of the release; nil: the permit is given back
}

// A holder is whom a holding is for. The desk asks it nothing else.
type holder interface {
	Orphaned() bool // nobody can reach the lease any more
}

// maxHandovers is for how many leases of one grant a token leaves room.
const maxHandovers = 1000

// leaseToken is the fencing token of the lease that has g now: each that it is handed to has a larger one.
func (g *Grant) leaseToken() int64 { return g.token*maxHandovers + int64(g.handed) }

// settled reports whether no request can take a permit for g any more.
func (g *Grant) isQuiet(now Instant) bool { return g.unanswered == 0 || now.Reached(g.lateBy) }

// A window is an instant that is written under the desk's lock and read without it. A reader that
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
