package sim

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A view is what Redis has of one semaphore between two commands.
type view struct {
	at       time.Time
	epoch    int
	server   int64              // µs
	holders  map[string]holding // by id
	queue    map[string]float64 // arrival, µs
	alive    map[string]float64 // until, ms
	override int                // -1: none
	limit    int                // the override, or the largest capacity that anybody declares
	lifetime [4]time.Duration   // of holders, fence, queue and alive; 0: for ever, or there is no such key
}

// A holding is what an id has among the holders.
type holding struct {
	members int // with any name
	granted int // of those: not with the name of a revoked one
	live    int // of those: their time is not up
	revoked bool
	expiry  float64 // the earliest, ms
}

func (s semaphore) key() string { return "passbuddy-" + s.name }

func (s semaphore) keys() [4]string {
	tag := "{" + s.key() + "}:"
	return [4]string{s.key(), tag + "fence", tag + "queue", tag + "alive"}
}

// look runs on the server's thread.
func (w *watched) look(n *Network, now time.Time) view {
	r := n.Server()
	keys := w.keys()
	v := view{at: now, server: now.Add(n.offset).UnixMicro(), holders: map[string]holding{}, override: -1, limit: w.largest()}
	members, _ := r.SortedSet(keys[0]) // an error: there is none
	// In order: revoked names come after the others.
	for _, member := range slices.Sorted(maps.Keys(members)) {
		score := members[member]
		id, revoked := strings.CutPrefix(member, "revoked,")
		if weightOf(strings.SplitN(id, ",", 2)[0]) > 1 {
			id = id[:strings.LastIndexByte(id, ',')]
		}
		h, known := v.holders[id]
		h.members++
		if !revoked {
			h.granted++
		}
		counts := int64(score)*1000 > v.server
		if counts {
			h.live++
		}
		if counts || !revoked || !known { // else its time is up, and the id has been granted again
			h.revoked = h.revoked || revoked
			if !known || score < h.expiry {
				h.expiry = score
			}
		}
		v.holders[id] = h
	}
	queue, _ := r.SortedSet(keys[2])
	alive, _ := r.SortedSet(keys[3])
	v.queue, v.alive = maps.Clone(queue), maps.Clone(alive) // miniredis hands out its own
	if n, err := strconv.Atoi(r.HGet("{"+keys[0]+"}:config", "capacity")); err == nil {
		v.override, v.limit = n, n
	}
	for i, key := range keys {
		v.lifetime[i] = r.TTL(key)
	}
	return v
}

// A verb is which of the library's scripts was run.
type verb string

// A script is one run of one.
type script struct {
	host     string
	verb     verb
	holders  string
	ttl      int64 // ms
	capacity int
	args     []string // behind those
}

// flags are an acquire's, as lease/scripts has them; 0: it is none.
func (s *script) flags() int {
	if s.verb != "acquire" || len(s.args) < 2 {
		return 0
	}
	flags, _ := strconv.Atoi(s.args[1])
	return flags
}

// isStrict reports whether an acquire may be refused, and then serves others by what was declared before it.
func (s *script) isStrict() bool { return s.flags()%8 >= 4 }

// scripts reads a command: none where it runs none of the library's scripts, and one for each semaphore where it renews many.
// It learns their names when they come with their source.
func (c *checker) scripts(host string, cmd []string) []*script {
	if len(cmd) < 6 || c.network.dispatched < 2 { // an error was the answer
		return nil
	}
	keys, err := strconv.Atoi(cmd[2])
	if err != nil || keys < 1 || len(cmd) < 5+keys {
		return nil
	}
	s := &script{host: host, holders: cmd[3], args: cmd[5+keys:]}
	s.ttl, _ = strconv.ParseInt(cmd[3+keys], 10, 64)
	s.capacity, _ = strconv.Atoi(cmd[4+keys])
	switch strings.ToLower(cmd[0]) {
	case "evalsha":
		s.verb = c.verbs[cmd[1]]
	case "eval":
		for _, v := range []verb{"acquire", "renew", "release", "inspect", "resize", "revoke", renewMany} {
			if strings.HasPrefix(cmd[1], "-- "+string(v)+": ") {
				s.verb = v
				c.verbs[nameOf(cmd[1])] = v
			}
		}
	}
	if s.verb == renewMany {
		return renewals(host, s.ttl, cmd[3:3+keys], cmd[4+keys:])
	}
	return []*script{s}
}

// renewMany is judged as a renewal of each semaphore.
const renewMany verb = "renew_many"

// renewals are what a renew_many does: args are the number of ids of each semaphore, and these.
func renewals(host string, ttl int64, keys, args []string) (all []*script) {
	for _, key := range keys {
		n, err := strconv.Atoi(args[0])
		if err != nil {
			panic("sim: a renewal of many with " + args[0])
		}
		ids := args[1 : 1+n]
		args = args[1+n:]
		if i := slices.IndexFunc(all, func(s *script) bool { return s.holders == key }); i >= 0 {
			all[i].args = slices.Concat(all[i].args, ids)
			continue
		}
		all = append(all, &script{host: host, verb: "renew", holders: key, ttl: ttl, args: ids})
	}
	return all
}

// ids are those that the call speaks for.
func (s *script) ids() (ids []string) {
	switch s.verb {
	case "acquire":
		for i := 3; i+1 < len(s.args); i += 2 {
			ids = append(ids, s.args[i])
		}
	case "release":
		ids = s.args[min(1, len(s.args)):]
	case "renew":
		ids = s.args
	}
	return ids
}

// grantsAnew reports whether the call asks for id as for one that is held.
func (s *script) grantsAnew(id string) bool {
	i := slices.Index(s.args, id)
	return s.verb == "acquire" && i >= 0 && s.args[i+1] == "="
}

// drawsIn reports whether the call may lower the expiry of id, after a step back of the clock: no renewal may.
func (w *watched) drawsIn(s *script, id string) bool {
	return s.verb != "renew" && w.owners[ownerOf(id)] > 0
}

// arrival is when an id began to wait, as the queue or the call itself has it.
func (s *script) arrival(id string, before, after view) float64 {
	at, waits := before.queue[id]
	if i := slices.Index(s.args, id); s.verb == "acquire" && i >= 0 {
		if age, err := strconv.ParseInt(s.args[i+1], 10, 64); err == nil {
			asks := float64(after.server - age)
			if behind, err := strconv.ParseFloat(s.args[2], 64); err == nil && (i-3)/2 >= s.flags()/16%1024 && behind < float64(after.server+1000) {
				asks = max(asks, behind+1)
			}
			if !waits || asks < at {
				return asks
			}
		}
	}
	if waits {
		return at
	}
	return float64(after.server)
}

// expired is what was left for certain of the view at a later time, before any command came.
func (v view) expired(at time.Time) view {
	gone := func(i int) bool { return v.lifetime[i] > 0 && at.Sub(v.at) >= v.lifetime[i]-expiryGrain }
	if gone(0) {
		v.holders = nil
	}
	if gone(2) {
		v.queue = nil
	}
	if gone(3) {
		v.alive = nil
	}
	return v
}

func (v view) String() string {
	return fmt.Sprintf("capacity %d, held %v, waiting %v, alive %v at %d", v.limit, v.holders, v.queue, v.alive, v.server)
}

// askedAt is the time in the UUID (RFC 9562, version 7) that begins an id.
func askedAt(id string) time.Time {
	ms, _ := strconv.ParseInt(id[:8]+id[9:13], 16, 64)
	return time.UnixMilli(ms)
}
