package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// A checker judges a fleet at every instant that matters: after each command that the server executed.
// It looks at the leases whose contexts live, at what Redis holds, because the first alone misses a
// renewal that adds a permit, at what each command did to the queue, and at how long callers wait.
type checker struct {
	network *Network
	sems    []*watched
	soon    time.Duration // how long a call takes to follow another, while all is well

	mu          sync.Mutex
	granted     map[string]grant // by id, when it was first seen in Redis
	revoked     map[string]bool  // ids that an operator meant to revoke
	verbs       map[string]verb  // by the script's name
	said        []published      // by the command that is being executed
	epochs      int              // how often Redis lost its data or its clock jumped
	emptied     int              // the epoch since which it has its data
	plain       bool             // messages are neither lost nor held back
	clustered   bool             // the server moves on to other addresses
	vague       time.Time        // until when a pipeline may take long all the same
	commands    int
	pushes      int
	garbage     int // how often others published
	longestWait time.Duration
	violations  []string
	trace       []event // the latest commands and troubles
}

// watched is what the checker knows of one semaphore.
type watched struct {
	semaphore
	lives  []*life
	waits  map[*wait]bool
	over   []*wait // in the calm time that is being watched
	latest int64   // token
	tokens map[int64]bool
	limits []limit
	owners map[string]int64 // the TTLs that they declare, in ms
	calls  int              // of its scripts
	unused time.Time        // since when somebody waits whom Redis could serve; zero: nobody does
	last   view
}

// A grant is when an id was first seen among the holders.
type grant struct {
	epoch int
	at    time.Time
}

// A limit is a capacity that was in force from a time on.
type limit struct {
	from     time.Time
	capacity int
}

// A life is one lease from its acquire to its release.
type life struct {
	process *process
	lease   *lease.Lease
	weight  int
	child   context.Context // of Held: it does not look at the clock by itself
	grant   grant
	score   int64 // its expiry in Redis, ms, as last seen
	back    bool  // its holder has said that it may go back
}

func newChecker(n *Network, sems []semaphore) *checker {
	c := &checker{network: n, granted: map[string]grant{}, revoked: map[string]bool{}, verbs: map[string]verb{}}
	for _, s := range sems {
		w := &watched{semaphore: s, waits: map[*wait]bool{}, tokens: map[int64]bool{}, owners: map[string]int64{}}
		w.limits = []limit{{time.Now(), s.largest()}}
		c.sems = append(c.sems, w)
	}
	n.OnPublish(func(channel, message string) { c.said = append(c.said, published{channel, message}) })
	n.OnCommand(c.check)
	return c
}

func (c *checker) of(name string) *watched {
	return c.sems[slices.IndexFunc(c.sems, func(w *watched) bool { return w.name == name })]
}

func (c *checker) violate(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violateLocked(format, args...)
}

func (c *checker) violateLocked(format string, args ...any) {
	if len(c.violations) < 10 {
		at := time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) // when bubbles begin
		violation := fmt.Sprintf("at %v: ", at) + fmt.Sprintf(format, args...)
		c.violations = append(c.violations, violation+c.recent(violation))
	}
}

// epoch does something after which the leases that live are not judged by their permits any more: Redis
// loses its data, or its clock jumps. The server does nothing else meanwhile.
func (c *checker) epoch(do func()) {
	c.network.Stall()
	c.mu.Lock()
	c.epochs++
	c.mu.Unlock()
	do()
	c.network.Resume()
}

// blur says that a trouble is over which may have held up a pipeline.
func (c *checker) blur(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.vague = time.Now().Add(d)
}

// empty says that Redis has lost its data in the epoch that has begun.
func (c *checker) empty() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.emptied = c.epochs
}

// lookAgain takes Redis as it is: no command made it so. It runs on the server's thread.
func (c *checker) lookAgain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.network.redis.SetTime(time.Now().Add(c.network.offset))
	for _, w := range c.sems {
		w.last = w.look(c.network, time.Now())
		w.last.epoch = c.epochs
	}
}

// begin enters a lease, and judges its token.
func (c *checker) begin(wait *wait, l *lease.Lease, child context.Context) *life {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.of(l.Name())
	x := &life{process: wait.caller.process, lease: l, weight: wait.weight, child: child, grant: c.granted[l.ID()]}
	token := l.Token()
	w.lives = append(w.lives, x)
	if w.tokens[token] {
		c.violateLocked("promise 10: token %d of %s was given twice", token, w.name)
	}
	w.tokens[token] = true
	if token <= w.latest && c.epochs == 0 && c.largestSince(w, time.Time{}) == 1 {
		c.violateLocked("promise 10: token %d of %s comes after %d", token, w.name, w.latest)
	}
	w.latest = max(token, w.latest)
	if got := weightOf(l.ID()); got != wait.weight {
		c.violateLocked("promise 1: a lease of weight %d of %s is on a permit of weight %d", wait.weight, w.name, got)
	}
	if given := time.UnixMicro(token / 1000); token%1000 > 0 && c.epochs == 0 && wait.end.Sub(given) > w.handover()+time.Millisecond && !wait.caller.process.pausedSince(given) {
		c.violateLocked("promise 8: lease %s of %s was handed over %v after Redis gave it", l.ID(), w.name, wait.end.Sub(given))
	}
	return x
}

// largestSince is the largest capacity in force since a time.
func (c *checker) largestSince(w *watched, since time.Time) int {
	largest := 0
	for i := len(w.limits) - 1; i >= 0; i-- {
		largest = max(largest, w.limits[i].capacity)
		if w.limits[i].from.Before(since) { // not at that instant: much can happen in one
			break
		}
	}
	return largest
}

func (c *checker) end(x *life) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.of(x.lease.Name())
	w.lives = slices.DeleteFunc(w.lives, func(y *life) bool { return x == y })
}

// releasing says that the holder of x is about to give its permit back.
func (c *checker) releasing(x *life) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x.back = true
}

// revoking says that an operator is about to revoke an id.
func (c *checker) revoking(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.revoked[id] = true
}

// lost judges a loss.
func (c *checker) lost(l *lease.Lease, err error, gentle bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var loss *lease.LostError
	switch {
	case c.revoked[l.ID()]:
	case gentle:
		c.violateLocked("promise 3: a lease was lost to trouble shorter than TTL/3: %v", err)
	case errors.As(err, &loss) && loss.Reason == lease.LossRevoked:
		c.violateLocked("promise 6: a lease was revoked, and nobody did: %v", err)
	}
}

// ask has the contexts of a process that wakes up look at the clock.
func (c *checker) ask(p *process) {
	c.mu.Lock()
	var own []*life
	for _, w := range c.sems {
		for _, x := range w.lives {
			if x.process == p {
				own = append(own, x)
			}
		}
	}
	c.mu.Unlock()
	for _, x := range own {
		_ = x.lease.Context().Err()
		_ = x.lease.Held().Err()
	}
}

// check judges this instant. It runs on the server's thread.
func (c *checker) check(host string, now time.Time, cmd []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commands++
	script := c.script(host, cmd)
	if script != nil && c.network.scripts.failed {
		if c.network.scripts.full && script.verb == "release" && (len(script.ids()) > 0 || script.args[0] >= "4") {
			c.violateLocked("promise 7: a full memory holds up a release of %s", script.holders)
		}
		script = nil // an error was the answer
	}
	for _, w := range c.sems {
		seen := w.look(c.network, now)
		seen.epoch = c.epochs
		c.judgeMembers(w, seen, now)
		if script != nil && script.holders == w.key() {
			w.calls++
			if w.last.epoch == c.epochs {
				c.judgeCommand(w, script, w.last, seen)
			}
		}
		c.judgeUnused(w, seen, now)
		w.last = seen
		c.judgeLives(w, seen, now)
	}
	c.note(now, script)
	c.said = c.said[:0]
}

// judgeMembers judges how many permits count in Redis.
func (c *checker) judgeMembers(w *watched, seen view, now time.Time) {
	if w.limits[len(w.limits)-1].capacity != seen.limit {
		w.limits = append(w.limits, limit{now, seen.limit})
	}
	counted, oldest := 0, now
	for id, g := range seen.holders {
		first, known := c.granted[id]
		if !known {
			first = grant{c.epochs, now}
			c.granted[id] = first
		}
		if counted += g.live; g.live > 0 && first.at.Before(oldest) {
			oldest = first.at
		}
	}
	if most := c.largestSince(w, oldest); counted > most {
		c.violateLocked("promise 1: %d members of %s count in Redis, capacity %d", counted, w.name, most)
	}
}

// judgeLives judges the leases whose contexts live.
func (c *checker) judgeLives(w *watched, seen view, now time.Time) {
	live, oldest := 0, now
	for _, x := range w.lives {
		if x.child.Err() != nil || !x.process.runs() {
			continue
		}
		if late := now.Sub(x.lease.TrustedUntil()); late > 0 {
			c.violateLocked("promise 2: lease %s of %s lives %v after its trust window", x.lease.ID(), w.name, late)
		}
		// A jump of the server's clock that nobody has told the process of is not promised anything: a notification that
		// is late by as much may look as if it came at once, until the next call is answered.
		h, held := seen.holders[x.lease.ID()]
		if held {
			x.score = int64(h.expiry)
		}
		over := x.lease.TrustedUntil().Sub(time.UnixMilli(x.score).Add(-c.network.offset))
		if x.grant.epoch != c.epochs || !x.process.host.Knows(now) {
			// But who has been told trusts nothing by the clock from before. A step that is shorter than a TTL may
			// be hidden by an answer that took as long; and a pipeline is read to its end, over a few trips.
			if c.told(w, x, now.Add(-c.soon)) && c.plain && now.After(c.vague) && x.score > 0 && x.grant.epoch >= c.emptied && over > slices.Max(w.ttls) {
				c.violateLocked("promise 2: lease %s of %s is trusted for %v longer than Redis keeps its permit by its new clock", x.lease.ID(), w.name, over)
			}
			continue
		}
		live += x.weight
		if x.grant.at.Before(oldest) {
			oldest = x.grant.at
		}
		if h.live != x.weight {
			c.violateLocked("promise 2: lease %s of %s lives, and Redis counts %d of its %d permits", x.lease.ID(), w.name, h.live, x.weight)
		}
		if over > 0 {
			c.violateLocked("promise 2: lease %s of %s is trusted for %v longer than Redis keeps its permit", x.lease.ID(), w.name, over)
		}
	}
	if most := c.largestSince(w, oldest); live > most {
		c.violateLocked("promise 1: leases on %d permits of %s live, capacity %d", live, w.name, most)
	}
}

// told reports whether the process of x has had an answer that shows what the clock shows that w goes by: one about w;
// or about another semaphore which it has held all along and knew the clock before by, unless another node of a Cluster
// may have taken over.
func (c *checker) told(w *watched, x *life, at time.Time) bool {
	if x.process.host.KnowsBy(w.key(), at) {
		return true
	}
	for _, other := range c.sems {
		for _, y := range other.lives {
			if !c.clustered && y.process == x.process && y.grant.epoch < c.epochs && y.child.Err() == nil && x.process.host.KnowsBy(other.key(), at) {
				return true
			}
		}
	}
	return false
}

// weightOf and ownerOf read an id: <uuid>@<owner>, and #<weight> when that is not 1.
func weightOf(id string) int {
	if _, weight, found := strings.Cut(id, "#"); found {
		n, _ := strconv.Atoi(weight)
		return n
	}
	return 1
}

func ownerOf(id string) string {
	_, owner, _ := strings.Cut(id, "@")
	owner, _, _ = strings.Cut(owner, "#")
	return owner
}

// checkLeft judges what processes that went home have left behind.
func (c *checker) checkLeft(f *fleet) {
	c.network.exec.Lock()
	defer c.network.exec.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.sems {
		v := w.look(c.network, time.Now())
		for _, p := range f.alive() {
			for id, h := range v.holders {
				// A request that came twice may leave a permit that nobody knows. It lasts for a TTL; and after a step back of
				// the clock until somebody finds no room: takeAll judges that.
				if h.live > 0 && strings.HasPrefix(ownerOf(id), p.name+"~") && c.granted[id].epoch == c.epochs {
					c.violateLocked("promise 7: %s of %s is held, and its process went home", id, w.name)
				}
			}
			for id := range v.queue {
				if strings.HasPrefix(ownerOf(id), p.name+"~") {
					c.violateLocked("promise 7: %s of %s waits, and its process went home", id, w.name)
				}
			}
			if n := p.manager.IgnoredMessages(); n > 0 && c.garbage == 0 {
				c.violateLocked("promise 9: %d messages to %s made no sense", n, p.name)
			}
		}
		for x := range w.waits {
			c.violateLocked("leak: a call of Acquire for %s goes on: %v", w.name, x.begin)
		}
	}
}

// checkEmpty judges the end: nothing counts any more, and no key is left but the fence and, for a day, the
// holders' with nobody in it.
func (c *checker) checkEmpty() {
	c.network.exec.Lock()
	defer c.network.exec.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.network.redis.SetTime(time.Now().Add(c.network.offset))
	for _, w := range c.sems {
		v := w.look(c.network, time.Now())
		for id, h := range v.holders {
			if h.live > 0 {
				c.violateLocked("promise 7: %s of %s is left over", id, w.name)
			}
		}
		if len(v.queue) > 0 || len(v.alive) > 0 {
			c.violateLocked("promise 7: somebody waits for %s at the end: %s", w.name, v)
		}
	}
}
