package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// traits are what kind of fleet a seed makes.
type traits struct {
	sems          []semaphore
	weights       bool          // callers ask for several permits
	greedy        bool          // some callers ask again at once
	crowded       bool          // many callers in each process
	muted         bool          // some processes may neither publish nor subscribe, or one of them
	operated      bool          // somebody resizes, pauses and revokes
	changing      bool          // processes declare other limits from time to time, and some callers are strict
	clustered     bool          // the processes take the server for a Cluster
	replicated    bool          // grants and renewals wait for a replica, which takes over from time to time
	labelled      bool          // callers label their permits
	heavy         bool          // a process holds leases of great weight
	margin, retry time.Duration // parts of a TTL; 0: the default
	attempts      int           // MaxAttempts
	hops          Faults
	messages      messageFaults
}

// A semaphore is one name, and what the processes of the fleet declare for it: they do not always agree.
type semaphore struct {
	name       string
	ttls       []time.Duration
	capacities []int
	handovers  []time.Duration
	lingers    []time.Duration
	slots      bool
}

func (p Plan) traits(r *rand.Rand) traits {
	half := func() bool { return r.IntN(2) == 0 }
	t := traits{weights: half(), greedy: half(), crowded: r.IntN(4) == 0, muted: r.IntN(4) == 0, operated: r.IntN(5) < 2}
	for i := range 1 + r.IntN(3) {
		s := semaphore{name: fmt.Sprintf("s%d", i)}
		ttl := []time.Duration{2 * time.Second, 5 * time.Second, 15 * time.Second}[r.IntN(3)]
		if t.crowded {
			ttl = 2 * time.Second // many callers ask often
		}
		s.ttls = []time.Duration{ttl}
		if r.IntN(3) == 0 {
			s.ttls = append(s.ttls, 2*ttl, ttl*3/4)
		}
		capacity := 1 + r.IntN(4)
		s.capacities = []int{capacity}
		if r.IntN(6) == 0 {
			s.capacities = append(s.capacities, capacity+1+r.IntN(2))
		}
		s.handovers = [][]time.Duration{{-1}, {0}, {ttl / 8}, {-1, 0, ttl / 4}}[r.IntN(4)]
		t.sems = append(t.sems, s)
	}
	own := rand.New(rand.NewPCG(p.Seed, 6)) // what came later draws from a source of its own
	t.clustered, t.heavy = own.IntN(3) == 0, own.IntN(4) == 0
	if t.changing = own.IntN(4) == 0; t.changing {
		for i := range t.sems {
			s := &t.sems[i]
			ttl := s.ttls[0]
			s.ttls = []time.Duration{ttl, 2 * ttl, ttl * 3 / 4}
			if own.IntN(2) == 0 {
				s.capacities = append(s.capacities, s.capacities[0]+1)
			}
		}
	}
	t.margin = []time.Duration{0, 0, 6, 50}[own.IntN(4)]
	t.retry = []time.Duration{4, 4, 5, 12}[own.IntN(4)]
	t.attempts = []int{0, 0, 0, 5}[own.IntN(4)]
	t.hops, t.messages = p.faults(r, own.IntN(4) == 0, t.shortestTTL()), p.messageFaults(r, t.longestTTL())
	for i := range t.sems {
		s := &t.sems[i]
		ttl := slices.Min(s.ttls)
		s.lingers = [][]time.Duration{{0}, {20 * time.Millisecond}, {ttl / 2}, {0, ttl / 10, ttl / 3}}[own.IntN(4)]
		s.slots = own.IntN(2) == 0
	}
	t.labelled, t.replicated = own.IntN(4) == 0, own.IntN(4) == 0
	return t
}

// declare is what one process declares.
func (t traits) declare(s semaphore, r *rand.Rand) lease.Config {
	ttl := s.ttls[r.IntN(len(s.ttls))]
	cfg := lease.Config{
		Linger: s.lingers[r.IntN(len(s.lingers))], Slots: s.slots,
		Name: s.name, Capacity: s.capacities[r.IntN(len(s.capacities))], TTL: ttl, RetryInterval: ttl / t.retry,
		Handover: s.handovers[r.IntN(len(s.handovers))], MaxAttempts: t.attempts, Strict: t.changing && r.IntN(8) == 0,
	}
	if t.replicated {
		cfg.MinReplicas = 1
	}
	if t.margin > 0 {
		cfg.Margin = ttl / t.margin
	}
	return cfg
}

// disagrees reports whether what processes declare differs.
func (s semaphore) disagrees() bool { return len(s.ttls) > 1 || len(s.capacities) > 1 }

// largest is the largest capacity that anybody declares.
func (s semaphore) largest() int { return slices.Max(s.capacities) }

// handover is for how long a permit may pass from caller to caller.
func (s semaphore) handover() time.Duration {
	longest := slices.Max(s.handovers)
	if slices.Contains(s.handovers, 0) {
		longest = max(longest, 5*time.Millisecond) // the default
	}
	return max(longest, 0)
}

// linger is for how long a released permit may stay with its process.
func (s semaphore) linger() time.Duration { return slices.Max(s.lingers) }

func (t traits) shortestTTL() time.Duration {
	d := t.sems[0].ttls[0]
	for _, s := range t.sems {
		d = min(d, slices.Min(s.ttls))
	}
	return d
}

func (t traits) longestTTL() time.Duration {
	var d time.Duration
	for _, s := range t.sems {
		d = max(d, slices.Max(s.ttls))
	}
	return d
}

// faults are what the network does all the time.
func (p Plan) faults(r *rand.Rand, plain bool, ttl time.Duration) Faults {
	f := Faults{
		Latency: time.Duration(r.Int64N(int64(3 * time.Millisecond))),
		Jitter:  time.Duration(r.Int64N(int64(10 * time.Millisecond))),
	}
	if r.IntN(4) == 0 || plain {
		return f
	}
	f.CutRequest, f.CutReply = 0.01, 0.02
	f.Duplicate, f.DuplicateAfter = 0.05, ttl
	if !p.Gentle {
		f.DropRequest, f.DropReply = 0.01, 0.01
		f.DelayRequest, f.DelayUpTo = 0.02, ttl*3/2
	}
	return f
}

// messageFaults are what it does to messages. They may be late and lost in a gentle fleet too.
func (p Plan) messageFaults(r *rand.Rand, ttl time.Duration) messageFaults {
	switch r.IntN(4) {
	case 0:
		return messageFaults{}
	case 1:
		return messageFaults{drop: 1}
	}
	return messageFaults{
		drop: r.Float64() / 3, delay: r.Float64() / 2, upTo: ttl * time.Duration(1+r.IntN(6)) / 4,
		duplicate: r.Float64() / 3, duplicateAfter: ttl * time.Duration(r.IntN(6)) / 4,
	}
}

// trouble has the network behave as the fleet's traits say, or well.
func (t traits) trouble(n *Network, on bool) {
	hops, messages := t.hops, t.messages
	if !on {
		hops, messages = Faults{Latency: hops.Latency, Jitter: hops.Jitter}, messageFaults{}
	}
	n.SetFaults(hops)
	n.changeMessageFaults(func(f *messageFaults) { *f = messages })
}
