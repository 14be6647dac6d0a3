package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A checker judges a fleet at every instant that matters: after each command that the server executed.
// It looks at the leases whose contexts live, at what Redis holds, because the first alone misses a
// renewal that adds a permit, at what each command did to the queue, and at how long callers wait.
type checker struct {
	network *Network
	sems    []*watched
	soon    time.Duration // how long a call takes to follow another, while all is well

	mu            sync.Mutex
	steady        map[string]*steady // by key: of names that nobody else wants
	granted       map[string]grant   // by id, when it was first seen in Redis
	revoked       map[string]bool    // ids that an operator meant to revoke
	verbs         map[string]verb    // by the script's name
	said          []published        // by the command that is being executed
	epochs        int                // how often Redis lost its data or its clock jumped
	judgedIn      int                // the epoch of the command before
	emptied       int                // the epoch since which it has its data
	plain         bool               // no reply is cut off
	clustered     bool               // the server moves on to other addresses
	vague         time.Time          // until when a pipeline may take long all the same
	commands      int
	notifications int
	garbage       int // how often others published
	longestWait   time.Duration
	violations    []string
	violated      int     // how many in all
	trace         []event // the latest commands and troubles
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
	owners map[string]int64     // the TTLs that they declare, in ms
	calls  int                  // of its scripts
	since  map[string]time.Time // who is in the queue, and since when
	unused time.Time            // since when somebody waits whom Redis could serve; zero: nobody does
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

func newChecker(n *Network, sems []semaphore) *checker {
	c := &checker{network: n, steady: map[string]*steady{}, granted: map[string]grant{}, revoked: map[string]bool{}, verbs: map[string]verb{}}
	for _, s := range sems {
		w := &watched{semaphore: s, waits: map[*wait]bool{}, tokens: map[int64]bool{}, owners: map[string]int64{}, since: map[string]time.Time{}}
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

// check judges this instant. It runs on the server's thread.
func (c *checker) check(host string, now time.Time, cmd []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.commands++
	ran := c.scripts(host, cmd)
	if len(ran) > 0 && c.network.scripts.failed {
		if s := ran[0]; c.network.scripts.full && s.verb == "release" && (len(s.ids()) > 0 || s.args[0] >= "4") {
			c.violateLocked("promise 7: a full memory holds up a release of %s", s.holders)
		}
		ran = nil // an error was the answer
	}
	for _, w := range c.sems {
		seen := w.look(c.network, now)
		seen.epoch = c.epochs
		c.judgeMembers(w, seen, now)
		if i := slices.IndexFunc(ran, func(s *script) bool { return s.holders == w.key() }); i >= 0 {
			w.calls++
			if w.last.epoch == c.epochs {
				c.judgeCommand(w, ran[i], w.last, seen)
			}
		}
		c.judgeUnused(w, seen, now)
		w.last = seen
		w.queued(seen)
		c.judgeLives(w, seen, now)
	}
	for _, s := range ran {
		if x := c.steady[s.holders]; x != nil {
			c.judgeSteady(s, x, now)
		}
	}
	c.judgedIn = c.epochs
	c.note(now, ran)
	c.said = c.said[:0]
}

// queued notes since when those are in the queue who are.
func (w *watched) queued(seen view) {
	for id := range w.since {
		if _, waits := seen.queue[id]; !waits {
			delete(w.since, id)
		}
	}
	for id := range seen.queue {
		if _, known := w.since[id]; !known {
			w.since[id] = seen.at
		}
	}
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

func (c *checker) violate(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violateLocked(format, args...)
}

// violateLocked notes a violation. It panics at the ten thousandth: what is broken so badly may turn in circles, and end
// neither by itself nor in virtual time.
func (c *checker) violateLocked(format string, args ...any) {
	if len(c.violations) < 10 {
		at := time.Since(time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)) // when bubbles begin
		violation := fmt.Sprintf("at %v: ", at) + fmt.Sprintf(format, args...)
		c.violations = append(c.violations, violation+c.recent(violation))
	}
	if c.violated++; c.violated == 10_000 {
		panic("10,000 violations; the first: " + c.violations[0])
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

// epochNow is the epoch of this moment.
func (c *checker) epochNow() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.epochs
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
	c.network.expire()
	for _, w := range c.sems {
		w.last = w.look(c.network, time.Now())
		w.last.epoch = c.epochs
	}
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
