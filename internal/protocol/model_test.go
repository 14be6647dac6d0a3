package protocol

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// A modelRedis does to one semaphore what the scripts do, written a second time and shorter: the states are fuzzed
// against it. It has one clock, which the caller sets.
type modelRedis struct {
	declared int
	override int // −1: none
	ttl      int64

	now           int64            // µs
	holders       map[string]int64 // permit: expiry in ms; a weight of n is one entry here
	queue         []modelWaiter    // in order of arrival
	alive         map[string]int64 // owner: until, in ms
	fence         int64
	notifications []modelNotification // the caller takes them
}

type modelWaiter struct {
	id      string
	arrival int64
	since   int64 // when it joined, by the server's clock
}

type modelNotification struct {
	owner string
	Notification
}

func newModelRedis(capacity int, ttl int64) *modelRedis {
	return &modelRedis{declared: capacity, override: -1, ttl: ttl, holders: map[string]int64{}, alive: map[string]int64{}}
}

func (m *modelRedis) capacity() int {
	if m.override >= 0 {
		return m.override
	}
	return m.declared
}

func (m *modelRedis) later() int64 { return (m.now + 999) / 1000 }

func (m *modelRedis) purge() {
	for id, expiry := range m.holders {
		if expiry*1000 <= m.now {
			delete(m.holders, id)
		}
	}
}

func (m *modelRedis) held() (n int) {
	m.purge()
	for id := range m.holders {
		n += weightOf(strings.TrimPrefix(id, "revoked,"))
	}
	return n
}

func (m *modelRedis) grant(id string, expiry int64) (token int64) {
	m.fence = max(m.now, m.fence+1)
	m.holders[id] = max(m.holders[id], expiry)
	return m.fence
}

func (m *modelRedis) unqueue(id string) {
	m.queue = slices.DeleteFunc(m.queue, func(w modelWaiter) bool { return w.id == id })
}

// A modelReply is the answer to a call.
type modelReply struct {
	late, more     bool
	server, expiry int64
	lost           []int64
	answers        []Answer
	occupancy      *Occupancy
}

// fillIn puts the answer into the call.
func (r modelReply) fillIn(c *Call) {
	c.Late, c.More, c.Server, c.Expiry = r.late, r.more, r.server, r.expiry
	c.Lost, c.Answers, c.Occupancy = r.lost, r.answers, r.occupancy
}

// run executes a call the way its script does, and returns the reply.
func (m *modelRedis) run(batch *Batch, c *Call) modelReply {
	switch c.Verb {
	case Release:
		removed := 0
		for _, g := range c.Grants {
			if _, found := m.holders[g.ID]; found {
				removed++
			}
			if c.Plain() {
				delete(m.holders, g.ID)
				continue
			}
			if _, found := m.holders[g.ID]; found {
				delete(m.holders, g.ID)
			} else {
				delete(m.holders, "revoked,"+g.ID)
			}
			if c.MayBeQueued {
				m.unqueue(g.ID)
			}
		}
		if c.Plain() {
			c.Removed = removed
		}
		if c.Promote {
			m.promote(nil)
		}
		return modelReply{more: c.Look && len(m.queue) > 0}
	case Renew:
		before := len(m.holders)
		m.purge()
		r := modelReply{server: m.now, expiry: m.later() + m.ttl}
		for i, g := range c.Grants {
			if expiry, found := m.holders[g.ID]; found {
				m.holders[g.ID] = max(expiry, m.later()+m.ttl)
			} else if _, found := m.holders["revoked,"+g.ID]; found {
				r.lost = append(r.lost, -int64(i+1))
			} else {
				r.lost = append(r.lost, int64(i+1))
			}
		}
		r.more = len(m.holders) < before
		return r
	default:
		return m.acquire(batch, c)
	}
}

func (m *modelRedis) acquire(batch *Batch, c *Call) modelReply {
	if batch.NotAfter > 0 && m.now > batch.NotAfter {
		return modelReply{server: m.now, late: true}
	}
	m.purge()
	own := map[string][2]int64{}
	places := placesOf(c, m.now)
	for i, g := range c.Grants {
		_, granted := m.holders[g.ID]
		switch weight := int(g.Weight); {
		case c.Ages[i] == Again && !granted:
			own[g.ID] = [2]int64{}
		case granted, len(m.queue) == 0 && m.held()+weight <= m.capacity():
			own[g.ID] = [2]int64{m.later() + m.ttl, m.grant(g.ID, m.later()+m.ttl)}
		case weight > m.capacity() && m.capacity() > 0:
			own[g.ID] = [2]int64{-1, 0}
			m.unqueue(g.ID)
		default:
			own[g.ID] = [2]int64{}
			if waits(c.Ages[i]) {
				m.join(g.ID, places[i])
			}
		}
	}
	m.promote(own)
	r, first := modelReply{server: m.now}, int64(0)
	for i, g := range c.Grants {
		if own[g.ID] == [2]int64{} && c.Ages[i] == Once && len(m.queue) == 0 && m.held()+int(g.Weight) <= m.capacity() {
			own[g.ID] = [2]int64{m.later() + m.ttl, m.grant(g.ID, m.later()+m.ttl)}
		}
		if own[g.ID] == [2]int64{} && c.Ages[i] != Again {
			first = m.firstExpiry()
		}
		r.answers = append(r.answers, Answer{own[g.ID][0], own[g.ID][1]})
	}
	r.occupancy = &Occupancy{Capacity: m.capacity(), Held: m.held(), Waiting: len(m.queue), First: first}
	return r
}

// placesOf returns the places in the queue that acquire.lua gives those who have none, when it runs at now.
func placesOf(c *Call, now int64) []int64 {
	places, last := make([]int64, len(c.Ages)), int64(0)
	for i, age := range c.Ages {
		if i == c.Stood && c.AfterPlace-now < maxPlaceAhead {
			last = max(last, c.AfterPlace)
		}
		if waits(age) {
			last = max(now-age, last+1)
		}
		places[i] = last
	}
	return places
}

func (m *modelRedis) join(id string, arrival int64) {
	m.alive[ownerIn(id)] = max(m.alive[ownerIn(id)], m.later()+m.ttl)
	if i := slices.IndexFunc(m.queue, func(w modelWaiter) bool { return w.id == id }); i >= 0 {
		m.queue[i].arrival = min(m.queue[i].arrival, arrival)
	} else {
		m.queue = append(m.queue, modelWaiter{id, arrival, m.now})
	}
	slices.SortFunc(m.queue, func(a, b modelWaiter) int {
		return cmp.Or(cmp.Compare(a.arrival, b.arrival), cmp.Compare(a.id, b.id))
	})
}

func (m *modelRedis) firstExpiry() (first int64) {
	for _, expiry := range m.holders {
		if first == 0 || expiry < first {
			first = expiry
		}
	}
	return first
}

func (m *modelRedis) promote(own map[string][2]int64) {
	for len(m.queue) > 0 && m.held() < m.capacity() {
		id := m.queue[0].id
		until, weight := m.alive[ownerIn(id)], weightOf(id)
		tell := func(verb Notice, expiry, token int64) {
			if _, mine := own[id]; mine {
				own[id] = [2]int64{expiry, token}
				if verb == Refused {
					own[id] = [2]int64{-1, 0}
				}
				return
			}
			m.notifications = append(m.notifications, modelNotification{ownerIn(id), Notification{Kind: verb, Expiry: expiry, Token: token, Server: m.now, ID: id, Weight: weightOf(id)}})
		}
		switch {
		case until*1000 <= m.now:
		case weight > m.capacity():
			tell(Refused, int64(m.capacity()), 0)
		case m.held()+weight <= m.capacity():
			tell(Granted, until, m.grant(id, until))
		default:
			return
		}
		m.queue = m.queue[1:]
	}
}

// resize sets the operator's override; −1 removes it.
func (m *modelRedis) resize(n int) {
	m.override = n
	m.promote(nil)
}

// revoke takes a permit away from its holder.
func (m *modelRedis) revoke(id string) {
	m.purge()
	if expiry, found := m.holders[id]; found {
		delete(m.holders, id)
		m.holders["revoked,"+id] = expiry
		m.notifications = append(m.notifications, modelNotification{ownerIn(id), Notification{Kind: Withdrawn, Server: m.now, ID: id, Weight: weightOf(id)}})
	}
}

// weightOf and ownerIn read an id: <number>@<owner>, and #<weight> where that is not 1.
func weightOf(id string) int {
	if _, weight, found := strings.Cut(id, "#"); found {
		n, _ := strconv.Atoi(weight)
		return n
	}
	return 1
}

func ownerIn(id string) string {
	_, owner, _ := strings.Cut(id, "@")
	owner, _, _ = strings.Cut(owner, "#")
	return owner
}
