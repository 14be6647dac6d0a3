package protocol

import "time"

// served checks a new lease: its id was not released before, and its token is new, and larger where that is promised.
func (f *fuzzFleet) served(s *fuzzState, w *Waiter) {
	h := w.Holding
	if f.released[h.Grant.ID] {
		f.Fatalf("%s was granted after a release for it was sent", h.Grant.ID)
	}
	if f.tokens[h.Token] {
		f.Fatalf("token %d was given twice", h.Token)
	}
	f.tokens[h.Token] = true
	if h.Reused {
		for _, waiting := range f.redis.queue {
			if since := time.Duration(f.redis.now-waiting.since) * time.Microsecond; ownerIn(waiting.id) != s.owner && since > s.Config.Linger {
				f.Fatalf("%s is reused while %s waits, for %v", h.Grant.ID, waiting.id, since)
			}
		}
	}
	if len(f.capacities) == 1 && f.redis.declared == 1 && h.Token <= f.latest {
		f.Fatalf("token %d comes after %d", h.Token, f.latest)
	}
	f.latest = max(f.latest, h.Token)
	f.leases = append(f.leases, &fuzzLease{state: s, holding: h, since: f.now})
}

// check looks at the leases whose contexts live. Redis must count the permit of each, and together they must not hold more
// than the capacity.
func (f *fuzzFleet) check() {
	f.sync()
	live, oldest := 0, f.now
	for _, l := range f.leases {
		if l.over || f.now.Reached(l.holding.Grant.Until.End()) {
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
