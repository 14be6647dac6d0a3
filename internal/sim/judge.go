package sim

import (
	"crypto/sha1"
	"encoding/hex"
	"slices"
	"time"

	"github.com/eqworks/passbuddy/lease/scripts"
)

// published is a message that a script sent.
type published struct{ channel, message string }

func nameOf(source string) string {
	sum := sha1.Sum([]byte(source))
	return hex.EncodeToString(sum[:])
}

// judgeCommand judges what one script did: whom it gave permits to, whom it passed over, whom it told.
func (c *checker) judgeCommand(w *watched, s *script, before, after view) {
	before = before.expired(after.at)
	for _, id := range s.ids() { // an acquire that is refused makes no TTL longer
		if owner, known := ownerOf(id), w.owners[ownerOf(id)]; s.verb == "renew" || s.verb == "acquire" && (known == 0 || s.ttl < known) {
			w.owners[owner] = s.ttl
		}
	}
	var given []string
	for id := range after.holders {
		if _, held := before.holders[id]; !held {
			given = append(given, id)
		}
	}
	c.judgeGrants(w, s, given, before, after)
	c.judgeLosses(w, s, before, after)
	c.judgeQueue(w, s, given, before, after)
	c.judgeHead(w, s, before, after)
	c.judgeNotifications(w, s, given, before, after)
	c.judgeLifetimes(w, before, after)
}

// judgeGrants: no script gives more than its caller may believe there is, none lowers a score to less than its
// holder may trust, and whoever gets a permit by another's script gets it for as long as its own process is known
// to live.
func (c *checker) judgeGrants(w *watched, s *script, given []string, before, after view) {
	limit := s.capacity
	if after.override >= 0 {
		limit = after.override
	}
	members := 0
	for id, h := range after.holders {
		members += h.members
		old, held := before.holders[id]
		if held && h.expiry < old.expiry && !(c.epochs > 0 && w.drawsIn(s, id) && int64(h.expiry) >= (after.server+999)/1000+w.owners[ownerOf(id)]) {
			c.violateLocked("promise 2: %s of %s was shortened", id, w.name)
		}
		if held && !h.revoked && old.revoked && int64(old.expiry)*1000 > after.server { // its time is not up
			c.violateLocked("promise 4: %s of %s was revoked and is held again", id, w.name)
		}
	}
	if len(given) > 0 && members > limit {
		c.violateLocked("promise 11: %s gave %v of %s, and then there were %d, capacity %d", s.verb, given, w.name, members, limit)
	}
	own := s.ids()
	for _, id := range given {
		if h := after.holders[id]; h.granted != weightOf(id) {
			c.violateLocked("promise 1: %s of %s got %d of its permits", id, w.name, h.granted)
		}
		if (s.verb == "renew" || s.grantsAnew(id)) && contains(own, id) {
			c.violateLocked("promise 4: renewing %s of %s added it", id, w.name)
		}
		if until := after.alive[ownerOf(id)]; !contains(own, id) && after.holders[id].expiry != until {
			c.violateLocked("promise 7: %s of %s was given until %.0f, and its process is alive until %.0f", id, w.name, after.holders[id].expiry, until)
		}
	}
}

// judgeLosses, promise 5: a permit goes back when its holder says so, or when its time is up, and not because
// its lease has ended: its holder may still be tearing down.
func (c *checker) judgeLosses(w *watched, s *script, before, after view) {
	for id, h := range before.holders {
		if _, held := after.holders[id]; held || int64(h.expiry)*1000 <= after.server {
			continue
		}
		for _, x := range w.lives {
			if x.lease.ID() == id && !x.back && x.grant.epoch == c.epochs {
				c.violateLocked("promise 5: %s took %s of %s away, and its holder has not released it", s.verb, id, w.name)
			}
		}
	}
}

// judgeQueue, promise 8: nobody who stood in the queue and whose process lives is overtaken by somebody who
// came later, and nobody's place gets worse while it waits.
func (c *checker) judgeQueue(w *watched, s *script, given []string, before, after view) {
	for id, at := range after.queue {
		was, waited := before.queue[id]
		if !waited {
			continue
		}
		if at > was {
			c.violateLocked("promise 8: %s of %s lost its place: it came %.0f µs later", id, w.name, at-was)
		}
		if int64(before.alive[ownerOf(id)])*1000 <= after.server {
			continue
		}
		for _, other := range given {
			if s.arrival(other, before, after) > at {
				c.violateLocked("promise 8: %s gave a permit of %s to %s before %s, which came first", s.verb, w.name, other, id)
			}
		}
	}
	for id := range before.queue {
		_, waits := after.queue[id]
		_, held := after.holders[id]
		if waits || held || contains(s.ids(), id) || int64(before.alive[ownerOf(id)])*1000 <= after.server {
			continue
		}
		own := len(s.ids()) > 0 && ownerOf(id) == ownerOf(s.ids()[0])
		if limit := after.limitFor(s); after.override < 0 && !own || weightOf(id) <= limit || limit == 0 {
			c.violateLocked("promise 8: %s took %s out of the queue of %s", s.verb, id, w.name)
		}
	}
}

// judgeHead, promise 8: a script that gives and frees leaves nobody at the head of the queue whom it could have
// served, and nobody who blocks the others because he is dead or asks for too much.
func (c *checker) judgeHead(w *watched, s *script, before, after view) {
	switch s.verb {
	case "release":
		if len(s.args) == 0 || s.args[0] < "2" {
			return // an acquire follows
		}
	case "acquire", "resize":
	default: // what a renewal frees is given away by the call that follows it
		return
	}
	members := 0
	for _, h := range after.holders {
		members += h.members
	}
	limit := after.limitFor(s)
	if s.isStrict() && after.override < 0 {
		limit = min(limit, slices.Min(w.capacities))
	}
	id := after.head()
	if id == "" || members >= limit {
		return
	}
	// Who asks for more than this caller declares may be served by another's call: only an operator refuses.
	tooMuch := after.override >= 0 && weightOf(id) > limit
	if tooMuch || members+weightOf(id) <= limit || int64(after.alive[ownerOf(id)])*1000 <= after.server {
		c.violateLocked("promise 8: %s left %s at the head of the queue of %s, with %d of %d held; alive: %v", s.verb, id, w.name, members, limit, after.alive)
	}
}

// judgeUnused, promise 8: while all is well a permit is not left unused for longer than a script takes to come,
// while somebody waits for it.
func (c *checker) judgeUnused(w *watched, seen view, now time.Time) {
	if !w.unused.IsZero() && w.over != nil && now.Sub(w.unused) > c.soon {
		c.violateLocked("promise 8: nobody got what is free of %s for %v: %s", w.name, now.Sub(w.unused), w.last)
		w.unused = time.Time{}
	}
	members := 0
	for _, h := range seen.holders {
		members += h.members
	}
	id := seen.head()
	switch {
	case w.over == nil, id == "", members+weightOf(id) > min(seen.limit, slices.Min(w.capacities)):
		w.unused = time.Time{}
	case w.unused.IsZero():
		w.unused = now
	}
}

// head is who has waited longest.
func (v view) head() (first string) {
	for id, at := range v.queue {
		if first == "" || at < v.queue[first] || at == v.queue[first] && id < first {
			first = id
		}
	}
	return first
}

// limitFor is the capacity that a script goes by.
func (v view) limitFor(s *script) int {
	if v.override >= 0 {
		return v.override
	}
	return s.capacity
}

// judgeNotifications, promise 9: who is given a permit by another's script is told, once, and nobody else is.
func (c *checker) judgeNotifications(w *watched, s *script, given []string, before, after view) {
	told := map[string]int{}
	for _, p := range c.said {
		n, ok := scripts.ParseNotification(p.message)
		if !ok || n.Holders != w.key() {
			c.violateLocked("promise 9: a notification that makes no sense: %q", p.message)
			continue
		}
		c.notifications++
		id := n.ID
		told[id]++
		if p.channel != "passbuddy:inbox:"+ownerOf(id) {
			c.violateLocked("promise 9: %q was sent to %s", p.message, p.channel)
		}
		_, held := before.holders[id]
		_, holds := after.holders[id]
		_, waits := after.queue[id]
		switch n.Notice {
		case scripts.Granted:
			ok = !held && holds
		case scripts.Refused:
			ok = !holds && !waits
		case scripts.Withdrawn:
			ok = after.holders[id].revoked
		}
		if !ok || told[id] > 1 {
			c.violateLocked("promise 9: %s said %q, %d times; held before: %v, held: %v, waits: %v", s.verb, p.message, told[id], held, holds, waits)
		}
	}
	for _, id := range given {
		if told[id] == 0 && !contains(s.ids(), id) && c.network.Host(s.host).mayRun("PUBLISH") {
			c.violateLocked("promise 8: %s gave %s of %s a permit and told nobody", s.verb, id, w.name)
		}
	}
}

// judgeLifetimes, promise 7: every key has an end, and nobody brings a neighbour's nearer.
func (c *checker) judgeLifetimes(w *watched, before, after view) {
	kept := [4]bool{shares(before.holders, after.holders), true, shares(before.queue, after.queue), shares(before.alive, after.alive)}
	exists := [4]bool{len(after.holders) > 0, false, len(after.queue) > 0, len(after.alive) > 0}
	for i, key := range w.keys() {
		if exists[i] && after.lifetime[i] == 0 {
			c.violateLocked("promise 7: %s has no end", key)
		}
		passed := after.at.Sub(before.at)
		if kept[i] && before.lifetime[i] > 0 && after.lifetime[i] < before.lifetime[i]-passed-expiryGrain-time.Millisecond {
			c.violateLocked("promise 7: the end of %s came nearer: %v after %v", key, after.lifetime[i], before.lifetime[i])
		}
	}
}

func shares[V any](a, b map[string]V) bool {
	for k := range a {
		if _, both := b[k]; both {
			return true
		}
	}
	return false
}

func contains(ids []string, id string) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}
