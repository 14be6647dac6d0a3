package protocol

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// FuzzStates lets three states and a model of Redis live through any sequence of events: callers that ask,
// give up and release, requests that are executed late, twice or never, replies and notifications that are lost,
// late or repeated, resizes, revocations and a queue that is lost. It checks the leases after every event. In the end
// all trouble ceases: then everybody must be served, and nothing may be left.
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

// A fuzzFleet is the states, the model, and the batches and notifications between them. A program of bytes says which
// event comes next.
type fuzzFleet struct {
	*testing.T
	program       []byte
	now           Instant
	redis         *modelRedis
	states        []*fuzzState
	sent          []*sentBatch
	notifications []modelNotification

	capacities []inForce
	tokens     map[int64]bool
	latest     int64
	released   map[string]bool // ids for which a release was sent
	leases     []*fuzzLease
}

// An inForce is the capacity in force since a time.
type inForce struct {
	since    Instant
	capacity int
}

// A fuzzState is the state of one process, and its callers.
type fuzzState struct {
	State
	owner    string
	attempts int // MaxAttempts of its callers
	ids      int
	waiters  []*Waiter
}

// A sentBatch is a batch that is under way.
type sentBatch struct {
	state    *fuzzState
	batch    *Batch
	executed bool
	answered bool // its state has got an answer or an error
	twin     bool // a copy that is executed, and whose reply nobody gets
	replies  []modelReply
}

// A fuzzLease is a lease that its holder has not released.
type fuzzLease struct {
	state   *fuzzState
	holding *Holding
	since   Instant
	over    bool // its contexts have ended
}

func newFuzzFleet(t *testing.T, program []byte) *fuzzFleet {
	f := &fuzzFleet{T: t, program: program, now: at(time.Second), tokens: map[int64]bool{}, released: map[string]bool{}}
	capacity := 1 + int(f.next())%3
	f.redis = newModelRedis(capacity, fuzzTTL.Milliseconds())
	f.setCapacity()
	handover := []time.Duration{-1, 0, 0, time.Second}[f.next()%4]
	mixed := int(f.next())
	attempts, linger := mixed%8, []time.Duration{0, 0, fuzzTTL / 100, fuzzTTL / 2}[mixed/8%4]
	for i := range 3 {
		cfg := configOf(capacity, fuzzTTL)
		if handover != 0 {
			cfg.Handover = handover
		}
		cfg.Linger = linger
		s := &fuzzState{owner: fmt.Sprintf("p%d~%d", i, i), attempts: max(attempts-4, 0)}
		s.State = New(&cfg, 1, func(weight int, _ string) string {
			s.ids++
			id := fmt.Sprintf("%036d@%s", s.ids, s.owner)
			if weight > 1 {
				id += fmt.Sprintf("#%d", weight)
			}
			return id
		}, func() float64 { return 0.5 })
		f.states = append(f.states, s)
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
		f.drive()
		f.check()
	}
	f.comeToRest()
}

// drive has every state send what it wants to send, and records who was served and whose lease is over.
func (f *fuzzFleet) drive() {
	for i := range f.sent {
		if sent := f.sent[i]; sent.executed && sent.answered {
			f.sent = append(f.sent[:i:i], f.sent[i+1:]...)
			break
		}
	}
	for _, s := range f.states {
		s.Tick(f.now)
		for n := 0; ; n++ {
			f.sync()
			known := Reading{}
			if s.ids%3 > 0 { // sometimes nothing is known of the server's clock
				known = Reading{Sent: f.now, Received: f.now, Micros: f.redis.now}
			}
			batch := s.Depart(f.now, known)
			if batch == nil {
				break
			}
			if n > 0 {
				f.Fatal("a state has two batches under way")
			}
			for _, c := range batch.Calls {
				for _, g := range c.Grants {
					if c.Verb == Release {
						f.released[g.ID] = true
					} else if c.Verb == Acquire && f.released[g.ID] {
						f.Fatalf("asks under %s, for which a release was sent", g.ID)
					}
				}
			}
			f.sent = append(f.sent, &sentBatch{state: s, batch: batch})
		}
		for i := 0; i < len(s.waiters); i++ {
			w := s.waiters[i]
			select {
			case <-w.Done:
			default:
				continue
			}
			s.waiters = append(s.waiters[:i:i], s.waiters[i+1:]...)
			i--
			if w.Failed == nil {
				f.served(s, w)
			}
		}
		for _, h := range s.TakeEffects().Ends {
			for _, l := range f.leases {
				if l.holding == h {
					l.over = true
				}
			}
			if h.Ending == nil {
				f.Fatal("a lease ended for no reason")
			}
		}
	}
}

// comeToRest ends all trouble. Everybody is served in the end, and releases at once; then nothing is left.
func (f *fuzzFleet) comeToRest() {
	f.sync()
	f.redis.resize(-1)
	f.setCapacity()
	for range 2000 {
		f.notifications = append(f.notifications, f.redis.notifications...)
		f.redis.notifications = nil
		for len(f.leases) > 0 {
			f.release(f.leases[0])
		}
		f.drive()
		f.check()
		for _, sent := range f.sent {
			f.execute(sent)
			f.answer(sent)
		}
		f.sent = nil
		for len(f.notifications) > 0 {
			p := f.notifications[0]
			f.notifications = f.notifications[1:]
			f.notify(p)
		}
		f.drive()
		f.check()
		if len(f.sent)+len(f.leases)+len(f.redis.notifications) == 0 {
			next, idle := Instant{}, true
			for _, s := range f.states {
				idle = idle && s.Idle()
				next = earlier(earlier(next, s.Next()), s.EndAt)
			}
			if idle {
				break
			}
			if next.IsZero() {
				for _, s := range f.states {
					if !s.Idle() {
						f.Fatalf("a state has something to do and does not say when: %+v", s.State)
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
	for _, s := range f.states {
		if len(s.waiters) > 0 {
			f.Fatalf("somebody waits for ever: %+v", s.waiters[0])
		}
		if !s.Idle() {
			f.Fatalf("a state does not come to rest: %+v", s.State)
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
