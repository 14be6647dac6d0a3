package protocol

import "time"

// The life of a grant. It moves forward only, so an id serves one grant and then never again.
type grantState uint8

const (
	asked     grantState = iota // in a request, or about to be
	Held                        // renewed, trusted until its window ends
	ended                       // no longer renewed or trusted; Redis may count it until its time is up
	releasing                   // to be given back
	gone                        // given back, lost, or expired
)

// A Grant is what Redis gives this process under one id. The driver's lock guards it, all but Until, which the
// lease's context reads without the lock.
type Grant struct {
	ID     string
	Label  string // in the id, for people
	Slots  []int  // in order; nil: none. Never changed once somebody holds it
	Until  window // end of the trust window
	Weight int32  // how many permits
	index  int32  // in the state's list of held or to be released grants
	token  int64  // server µs of the grant
	at     Instant
	handed int32 // how often it was handed over inside this process
	State  grantState

	mayBeQueued bool // it may be in the queue
	inQueue     bool // Redis has said that it is
	released    bool // a release of it was sent: the id is never used again
	lastRelease bool // and when it was sent, no request could take a permit for g any more: it is the last
	deferred    bool // to be released: its waiter was served otherwise; there is no hurry
	again       bool // to be granted anew: it is in the state's list
	ageing      bool // to be granted anew, so that Redis keeps its slots

	acknowledged, needs int32 // how many replicas have acknowledged what its window rests on, and how many must for its lease

	idleSince Instant // it lingers: since when

	unanswered   int32   // requests for it that no reply has answered
	refusedAfter Instant // from then on Redis refuses those requests for certain
	releaseAt    Instant // to be released: when the release is sent next
	expiresBy    Instant // to be released: when its time is up in any case
	confirmBy    Instant // to be released: until when the caller of Release waits for it

	waiter  *Waiter  // who asked for it; nil once served
	Holding *Holding // of the lease that it is for; nil when nobody has to be told
}

// fits reports whether g is what w asks for. A permit of another label would tell people a wrong thing.
func (g *Grant) fits(w *Waiter) bool {
	return int(g.Weight) == w.Weight && g.Label == w.Label && (!w.Slots || len(g.Slots) > 0) && int(g.acknowledged) >= w.MinReplicas
}

// A Holding is what the state knows of a lease.
type Holding struct {
	// immutable
	Holder  holder
	MaxHold time.Duration // 0: no limit

	// the state's, until the lease is made, and then immutable
	Grant  *Grant
	Token  int64
	Reused bool    // the permit had lingered
	EndsAt Instant // MaxHold; zero: none
	Began  Instant

	// the state's
	Ending    *Reason       // why it took the permit away
	Confirmed chan struct{} // closed when Result is there; nil: nobody waits
	Result    *Reason       // of the release; nil: the permit is given back
}

// A holder is whom a holding is for. The state asks it nothing else.
type holder interface {
	Orphaned() bool // nobody can reach the lease any more
}

// maxHandovers is for how many leases of one grant a token leaves room.
const maxHandovers = 1000

// leaseToken is the fencing token of the lease that has g now: each that it is handed to has a larger one.
func (g *Grant) leaseToken() int64 { return g.token*maxHandovers + int64(g.handed) }

// WasHandedOver reports whether the permit came from another lease of this process, without Redis.
func (h *Holding) WasHandedOver() bool { return h.Token%maxHandovers > 0 }

// hasNoOpenRequest reports whether no request can take a permit for g any more.
func (g *Grant) hasNoOpenRequest(now Instant) bool {
	return g.unanswered == 0 || now.Reached(g.refusedAfter)
}
