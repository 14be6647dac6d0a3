package protocol

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// FuzzStates lets three states and a model of Redis live through any sequence of events: callers that ask,
// give up and release, requests that are executed late, twice or never, replies and notifications that are lost,
// late or repeated, resizes, revocations and a queue that is lost. It judges every instant, and in the end
// lets all trouble cease and asks that everybody is served and nothing is left.
func FuzzStates(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 400 {
		program := make([]byte, 16+r.IntN(600))
		for i := range program {
			program[i] = byte(r.Uint32())
		}
		f.Add(program)
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		if len(program) < 8 || len(program) > 4000 {
			return
		}
		newFuzzFleet(t, program).live()
	})
}

const fuzzTTL = 3 * time.Second

// A fuzzFleet is the states, the model, and what is on its way between them.
type fuzzFleet struct {
	*testing.T
	program []byte
	now     Instant
	redis   *modelRedis
	states  []*fuzzState
	trips   []*fuzzTrip
	pushes  []modelPush

	capacities []inForce
	tokens     map[int64]bool
	latest     int64
	released   map[string]bool // ids for which a release was sent
	leases     []*fuzzLease
}

type inForce struct {
	since    Instant
	capacity int
}

type fuzzState struct {
	State
	owner   string
	ids     int
	waiters []*Waiter
}

// A fuzzTrip is a batch that is under way.
type fuzzTrip struct {
	state    *fuzzState
	ex       *Batch
	executed bool
	answered bool // its state has been told something
	twin     bool // a copy that is executed, and whose reply nobody gets
	replies  []modelReply
}

type fuzzLease struct {
	state    *fuzzState
	holding  *Holding
	since    Instant
	overfull bool // its contexts have ended
}

func newFuzzFleet(t *testing.T, program []byte) *fuzzFleet {
	f := &fuzzFleet{T: t, program: program, now: at(time.Second), tokens: map[int64]bool{}, released: map[string]bool{}}
	capacity := 1 + int(f.next())%3
	f.redis = newModelRedis(capacity, fuzzTTL.Milliseconds())
	f.setCapacity()
	handover := []time.Duration{-1, 0, 0, time.Second}[f.next()%4]
	attempts := int(f.next()) % 8
	for i := range 3 {
		cfg := configOf(capacity, fuzzTTL)
		cfg.MaxAttempts = max(attempts-4, 0)
		if handover != 0 {
			cfg.Handover = handover
		}
		d := &fuzzState{owner: fmt.Sprintf("p%d~%d", i, i)}
		d.State = New(&cfg, 1, func(weight int) string {
			d.ids++
			id := fmt.Sprintf("%036d@%s", d.ids, d.owner)
			if weight > 1 {
				id += fmt.Sprintf("#%d", weight)
			}
			return id
		}, func() float64 { return 0.5 })
		f.states = append(f.states, d)
	}
	return f
}

// next takes a byte of the program; zeros follow its end.
func (f *fuzzFleet) next() byte {
	if len(f.program) == 0 {
		return 0
	}
	b := f.program[0]
	f.program = f.program[1:]
	return b
}

func (f *fuzzFleet) state() *fuzzState { return f.states[int(f.next())%len(f.states)] }

func (f *fuzzFleet) live() {
	for len(f.program) > 0 {
		f.event()
		f.confirm()
		f.judge()
	}
	f.rest()
}

func (f *fuzzFleet) event() {
	switch f.next() % 20 {
	case 0, 1:
		f.pass(time.Duration(f.next()) * 200 * time.Microsecond)
	case 2:
		f.pass(time.Duration(f.next()) * fuzzTTL / 500)
	case 3, 4, 5:
		f.ask(f.state(), f.next())
	case 6, 7:
		if l := f.someLease(); l != nil {
			f.release(l)
		}
	case 8:
		d := f.state()
		if n := len(d.waiters); n > 0 {
			d.Leave(f.now, d.waiters[int(f.next())%n], ReasonCancelled)
		}
	case 9, 10, 11:
		if trip := f.someTrip(); trip != nil {
			f.execute(trip)
		}
	case 12, 13:
		if trip := f.someTrip(); trip != nil {
			f.execute(trip)
			f.answer(trip)
		}
	case 14: // its state is told that it failed; it may be executed all the same, now or later
		if trip := f.someTrip(); trip != nil && !trip.answered {
			trip.answered = true
			fail(trip.ex, errNet)
			trip.state.Arrive(f.now, trip.ex)
		}
	case 15: // the client sends it twice
		if trip := f.someTrip(); trip != nil && len(f.trips) < 50 {
			f.trips = append(f.trips, &fuzzTrip{state: trip.state, ex: trip.ex, twin: true, answered: true})
		}
	case 16, 17:
		if n := len(f.pushes); n > 0 {
			i := int(f.next()) % n
			p := f.pushes[i]
			if f.next()%4 > 0 { // otherwise it comes again
				f.pushes = append(f.pushes[:i:i], f.pushes[i+1:]...)
			}
			f.push(p)
		}
	case 18:
		switch f.next() % 4 {
		case 0:
			f.pushes = nil
		case 1:
			f.state().Subscribed(f.now)
		case 2:
			f.redis.queue = nil
		case 3:
			if n := len(f.trips); n > 0 { // lost on its way there or back
				i := int(f.next()) % n
				f.trips = append(f.trips[:i:i], f.trips[i+1:]...)
			}
		}
	case 19:
		switch f.next() % 3 {
		case 0:
			f.sync()
			f.redis.resize(int(f.next())%5 - 1)
			f.setCapacity()
		case 1:
			if l := f.someLease(); l != nil {
				f.sync()
				f.redis.revoke(l.holding.Grant.ID)
			}
		case 2:
			f.pass(fuzzTTL)
		}
	}
}

func (f *fuzzFleet) setCapacity() {
	f.capacities = append(f.capacities, inForce{f.now, f.redis.capacity()})
}

func (f *fuzzFleet) pass(d time.Duration) { f.now = f.now.Add(d) }

func (f *fuzzFleet) sync() { f.redis.now = serverAt(f.now) }

func (f *fuzzFleet) ask(d *fuzzState, how byte) {
	if len(d.waiters) > 20 {
		return
	}
	w := &Waiter{Weight: 1, MaxAttempts: d.Config.MaxAttempts, Done: make(chan struct{}), Holding: &Holding{Holder: reachable{}}}
	if how&3 == 3 {
		w.Weight = 1 + int(how>>2&3)
	}
	switch how >> 4 & 7 {
	case 7:
		w.Once = true
	case 6:
		w.Deadline = f.now.Add(time.Duration(f.next()) * fuzzTTL / 100)
	case 5:
		w.Holding.MaxHold = time.Duration(1+int(f.next())) * fuzzTTL / 100
	}
	d.waiters = append(d.waiters, w)
	d.Ask(f.now, w)
}

func (f *fuzzFleet) someLease() *fuzzLease {
	if len(f.leases) == 0 {
		return nil
	}
	return f.leases[int(f.next())%len(f.leases)]
}

func (f *fuzzFleet) release(l *fuzzLease) {
	l.overfull = true
	for i := range f.leases {
		if f.leases[i] == l {
			f.leases = append(f.leases[:i:i], f.leases[i+1:]...)
			break
		}
	}
	l.state.Release(f.now, l.holding)
}

func (f *fuzzFleet) someTrip() *fuzzTrip {
	if len(f.trips) == 0 {
		return nil
	}
	return f.trips[int(f.next())%len(f.trips)]
}

// execute has the server run a trip's calls.
func (f *fuzzFleet) execute(trip *fuzzTrip) {
	if trip.executed {
		return
	}
	f.sync()
	trip.executed = true
	for i := range trip.ex.Calls {
		trip.replies = append(trip.replies, f.redis.run(trip.ex, &trip.ex.Calls[i]))
	}
	f.pushes = append(f.pushes, f.redis.pushes...)
	f.redis.pushes = nil
}

// answer brings a trip's replies to its state, if it has not been told otherwise.
func (f *fuzzFleet) answer(trip *fuzzTrip) {
	if trip.answered || !trip.executed {
		return
	}
	trip.answered = true
	for i := range trip.ex.Calls {
		trip.replies[i].reach(&trip.ex.Calls[i])
	}
	trip.state.Arrive(f.now, trip.ex)
}

func (f *fuzzFleet) push(p modelPush) {
	for _, d := range f.states {
		if d.owner == p.owner {
			d.Notified(f.now, p.Notification)
		}
	}
}

// settle lets every state do what it wants done, and takes note of who was served and whose lease is over.
func (f *fuzzFleet) confirm() {
	for i := range f.trips {
		if trip := f.trips[i]; trip.executed && trip.answered {
			f.trips = append(f.trips[:i:i], f.trips[i+1:]...)
			break
		}
	}
	for _, d := range f.states {
		d.Tick(f.now)
		for n := 0; ; n++ {
			f.sync()
			known := Reading{}
			if d.ids%3 > 0 { // sometimes nothing is known of the server's clock
				known = Reading{Sent: f.now, Received: f.now, Micros: f.redis.now}
			}
			ex := d.Depart(f.now, known)
			if ex == nil {
				break
			}
			if n > 0 {
				f.Fatal("a state has two batches under way")
			}
			for _, c := range ex.Calls {
				for _, g := range c.Grants {
					if c.Verb == Release {
						f.released[g.ID] = true
					} else if c.Verb == Acquire && f.released[g.ID] {
						f.Fatalf("asks under %s, for which a release was sent", g.ID)
					}
				}
			}
			f.trips = append(f.trips, &fuzzTrip{state: d, ex: ex})
		}
		for i := 0; i < len(d.waiters); i++ {
			w := d.waiters[i]
			select {
			case <-w.Done:
			default:
				continue
			}
			d.waiters = append(d.waiters[:i:i], d.waiters[i+1:]...)
			i--
			if w.Failed == nil {
				f.served(d, w)
			}
		}
		for _, h := range d.TakeEffects().Ends {
			for _, l := range f.leases {
				if l.holding == h {
					l.overfull = true
				}
			}
			if h.Ending == nil {
				f.Fatal("a lease ended for no reason")
			}
		}
	}
}

func (f *fuzzFleet) served(d *fuzzState, w *Waiter) {
	h := w.Holding
	if f.released[h.Grant.ID] {
		f.Fatalf("%s was granted after a release for it was sent", h.Grant.ID)
	}
	if f.tokens[h.Token] {
		f.Fatalf("token %d was given twice", h.Token)
	}
	f.tokens[h.Token] = true
	if len(f.capacities) == 1 && f.redis.declared == 1 && h.Token <= f.latest {
		f.Fatalf("token %d comes after %d", h.Token, f.latest)
	}
	f.latest = max(f.latest, h.Token)
	f.leases = append(f.leases, &fuzzLease{state: d, holding: h, since: f.now})
}

// judge looks at the leases whose contexts live: theirs are the permits, and together no more than there are.
func (f *fuzzFleet) judge() {
	f.sync()
	live, oldest := 0, f.now
	for _, l := range f.leases {
		if l.overfull || f.now.Reached(l.holding.Grant.Until.End()) {
			continue // its context looks at the clock
		}
		id := l.holding.Grant.ID
		live += weightOf(id)
		if l.since.Mono < oldest.Mono {
			oldest = l.since
		}
		expiry := max(f.redis.holders[id], f.redis.holders["revoked,"+id])
		if expiry*1000 <= f.redis.now {
			f.Fatalf("%s lives, and Redis gives its permit away: %d at %d", id, expiry, f.redis.now/1000)
		}
	}
	limit := 0
	for i, c := range f.capacities {
		if i+1 == len(f.capacities) || f.capacities[i+1].since.Mono > oldest.Add(-2*fuzzTTL).Mono {
			limit = max(limit, c.capacity)
		}
	}
	if live > limit {
		f.Fatalf("%d permits live, capacity %d", live, limit)
	}
}

// rest lets all trouble cease. Everybody is served in the end, and releases at once; then nothing is left.
func (f *fuzzFleet) rest() {
	f.sync()
	f.redis.resize(-1)
	f.setCapacity()
	for range 2000 {
		f.pushes = append(f.pushes, f.redis.pushes...)
		f.redis.pushes = nil
		for len(f.leases) > 0 {
			f.release(f.leases[0])
		}
		f.confirm()
		f.judge()
		for _, trip := range f.trips {
			f.execute(trip)
			f.answer(trip)
		}
		f.trips = nil
		for len(f.pushes) > 0 {
			p := f.pushes[0]
			f.pushes = f.pushes[1:]
			f.push(p)
		}
		f.confirm()
		f.judge()
		if len(f.trips)+len(f.leases)+len(f.redis.pushes) == 0 {
			next, idle := Instant{}, true
			for _, d := range f.states {
				idle = idle && d.Idle()
				next = earlier(earlier(next, d.Next()), d.EndAt)
			}
			if idle {
				break
			}
			if next.IsZero() {
				for _, d := range f.states {
					if !d.Idle() {
						f.Fatalf("a state has something to do and does not say when: %+v", d.State)
					}
				}
			}
			if f.now.Mono < next.Mono {
				f.now = next
			} else {
				f.pass(time.Millisecond)
			}
		}
	}
	for _, d := range f.states {
		if len(d.waiters) > 0 {
			f.Fatalf("somebody waits for ever: %+v", d.waiters[0])
		}
		if !d.Idle() {
			f.Fatalf("a state does not come to rest: %+v", d.State)
		}
	}
	f.pass(2 * fuzzTTL)
	f.sync()
	if n := f.redis.held(); n > 0 {
		f.Fatalf("%d permits are left over: %v", n, f.redis.holders)
	}
	if len(f.redis.queue) > 0 {
		for _, w := range f.redis.queue {
			if f.redis.alive[ownerIn(w.id)]*1000 > f.redis.now {
				f.Fatalf("a place in the queue is left over: %v", f.redis.queue)
			}
		}
	}
}
