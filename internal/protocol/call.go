package protocol

import "time"

// maxIDs bounds the permits of one call, unless a single id has more: a script's loops and its stack are
// bounded by it.
const maxIDs = 500

// Verb is which script a call runs.
type Verb uint8

const (
	Release Verb = iota
	Renew
	Acquire
)

func (v Verb) String() string { return [...]string{"release", "renew", "acquire"}[v] }

// A Call is one verb with its ids. The transport fills in the answer, or Failure.
type Call struct {
	Verb        Verb
	Grants      []*Grant
	Permits     int     // of all grants together
	Capacity    int     // acquire: what its callers declare; 0: what the process does
	TTL         int64   // ms; acquire: what its callers declare; renew: how long the permits live from then on; 0: what the process declares
	Ages        []int64 // acquire: for how many µs each has waited; Once: it does not wait; Again: it is held
	Stood       int     // acquire: the first so many have a place in the queue
	Callers     int     // acquire: how many callers of the process wait; 0: nothing is said of it
	AfterPlace  int64   // acquire: and the others come after this place
	Removed     int     // release, a plain one: how many were held
	Strict      bool    // acquire: refuse while another process declares other limits
	Narrow      bool    // acquire: others who wait here go by a larger capacity
	Slots       bool    // acquire, release: who gets a permit gets slots
	Again       bool    // acquire: some of them are held, and to be granted anew
	Refresh     bool    // acquire: see to the queue's lifetime
	Lifetime    bool    // renew: see to the lifetime of the permits' key
	Promote     bool    // release: give what is freed to those who wait; an acquire does so anyway
	Look        bool    // release: nobody seems to wait; look whether that is so
	MayBeQueued bool    // release: some may be in the shared queue, or go by another name

	// The answer.
	Late       bool       // acquire: it ran past its NotAfter and asked for nothing
	Muted      bool       // a notification was not permitted
	More       bool       // there is somebody to promote
	Unpromoted bool       // release, a plain one: the ids are out, and promoting has to be tried again
	Server     int64      // renew, acquire: when it ran, in µs of the server's clock
	Expiry     int64      // renew: ms of the server's clock, of each id that is held
	Lost       []int64    // renew: positions, from 1, of those that are not; negative: it was revoked
	Answers    []Answer   // acquire, unless it was late: to each id
	Occupancy  *Occupancy // acquire: nil: there was room for all
	SlotsOf    *[][]int   // acquire, with Slots: of each id that was granted
	Failure    Failure

	// ClockAhead is by how much the server's clock has been found to have jumped ahead since the call ran: windows that its
	// answer measures are shorter by it.
	ClockAhead time.Duration
}

// slotsOf is what the i-th id got, nil where it got none.
func (c *Call) slotsOf(i int) []int {
	if c.SlotsOf == nil {
		return nil
	}
	return (*c.SlotsOf)[i]
}

// A Failure is why a call brought no answer; its zero value: it brought one.
type Failure struct {
	Err       error
	Permanent bool // it will be the same at the next try
	Silent    bool // there was no answer in time
	Passing   bool // the server itself says that it will soon think otherwise
}

// What a request may have in place of an age.
const (
	Once  = -1 << 63 // it does not wait
	Again = Once + 1 // its permit is held, and is to be granted anew
)

// waits reports whether a request of this age is of somebody who waits.
func waits(age int64) bool { return age > Again }

// An Answer is what became of one id of an acquire.
type Answer struct {
	Expiry int64 // ms of the server's clock; 0: it waits, or was refused; or one of those below
	Token  int64 // µs; 0: it was not granted
}

// What an answer has in place of an expiry.
const (
	answerTooHeavy = -1 // for the capacity in force
	answerRevoked  = -2 // it was granted by a reply that was lost, and revoked since
	answerDisagree = -3 // the call was strict, and another process declares other limits
)

// An Occupancy is how full the semaphore is.
type Occupancy struct {
	Capacity, Held, Waiting int
	First                   int64 // the earliest expiry, ms; 0: nobody was refused

	OtherCapacity int // what the caller of the grant before declared; 0: the same
	OtherTTL      time.Duration
}

func (c *Call) hasRoom(g *Grant) bool { return c.Permits+int(g.Weight) <= maxIDs }

func (c *Call) goesBy(v Verb, capacity int, strict bool) bool {
	return c.Verb == v && c.Capacity == capacity && c.Strict == strict
}
