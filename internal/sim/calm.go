package sim

import (
	"context"
	"slices"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
)

// brisk is a channel that is closed while all is well.
func (f *fleet) brisk() <-chan struct{} {
	f.calmMu.Lock()
	defer f.calmMu.Unlock()
	return f.calmness
}

// calm is a time without trouble: nothing is lost or late, no operator interferes, and those who hold are
// quick. What the trouble before has left behind is over after a while. From then on nobody may wait for
// longer than those ahead can take, nobody is overtaken, and nobody asks more often than it has reason to.
// again says that trouble goes on afterwards.
func (f *fleet) calm(again bool) {
	f.operator.rest()
	f.trouble(f.network, false)
	close(f.calmness)
	f.operator.putBack()
	time.Sleep(3*f.longestTTL() + 5*time.Second) // the client's own time-outs, permits of the dead
	f.operator.putBack()

	bounds := map[string]time.Duration{}
	for _, s := range f.sems {
		bounds[s.name] = f.patience(s)
	}
	begin := time.Now()
	f.checker.watch(f)
	for time.Since(begin) < 2*f.longestTTL() || f.checker.waitsSince(begin, bounds) {
		time.Sleep(f.shortestTTL() / 4)
	}
	f.checker.judge(f, begin)
	if again {
		f.calmMu.Lock()
		f.calmness = make(chan struct{})
		f.calmMu.Unlock()
		f.trouble(f.network, true)
		f.operator.resume()
	}
}

// takeAll has somebody ask for all permits of each semaphore, when everybody has gone home. What the dead have left
// from before a step back of the clock may lie far ahead: from now on it lasts for a TTL.
func (f *fleet) takeAll() {
	for _, s := range f.sems {
		f.network.Look(func(r *miniredis.Miniredis) {
			r.Del("{passbuddy-" + s.name + "}:config")
			f.checker.lookAgain()
		})
	}
	p := &process{name: "last", host: f.network.Host("last")}
	p.client = redis.NewClient(p.host.Options())
	defer p.client.Close()
	m, err := lease.New(p.client, lease.Options{Owner: p.name, Logger: f.log})
	if err != nil {
		panic(err)
	}
	defer m.Close()
	for _, s := range f.sems {
		longest := slices.Max(s.ttls)
		sem, err := m.Semaphore(lease.Config{Name: s.name, Capacity: s.largest(), TTL: longest})
		if err != nil {
			panic(err)
		}
		l, err := sem.Acquire(context.Background(), lease.Weight(s.largest()), lease.MaxWait(2*longest))
		if err != nil {
			f.checker.violate("promise 7: what the dead have left of %s lasts for longer than %v: %v", s.name, 2*longest, err)
			continue
		}
		if err := l.Release(); err != nil {
			f.checker.violate("promise 7: the last lease of %s was not given back: %v", s.name, err)
		}
	}
	time.Sleep(3 * f.longestTTL()) // what a waiter leaves
}

// patience is how long somebody may have to wait while all is well: until each of the others has had its
// turn, one after the other. In each turn a holder is quick, its permit may pass to others of its process,
// it travels, and whoever is next may learn of it by polling only. Before that, permits may linger.
func (f *fleet) patience(s semaphore) time.Duration {
	turn := quick(f.longestTTL()) + s.handover() + 4*f.trip() + f.longestTTL()/4
	return time.Duration(f.checker.callers(s.name)+2)*turn + s.linger()
}

// trip is how long a message travels at most, while all is well.
func (f *fleet) trip() time.Duration { return f.hops.Latency + f.hops.Jitter }

// quick is for how long a permit is held at most while all is well.
func quick(ttl time.Duration) time.Duration { return ttl / 20 }
