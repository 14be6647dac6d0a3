package main

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/examples/internal/demo"
)

// An onlooker reads what stands in Redis, by Redis's own clock, on a connection that never stalls. It
// is no part of leasing: it checks what the leases promise. Safe for concurrent use.
type onlooker struct {
	client  *redis.Client
	key     string // sorted set: member = permit, score = its expiry in ms
	owner   string // this program
	account *account

	mu     sync.Mutex
	expiry map[string]time.Time // of every permit that was seen, by Redis's clock
	clock  reading              // the sharpest one
}

// A reading says that Redis's clock stood at server somewhere between sent and received.
type reading struct{ sent, received, server time.Time }

func (r reading) blur() time.Duration { return r.received.Sub(r.sent) }

// watch looks at the permits until ctx ends.
func (o *onlooker) watch(ctx context.Context) {
	known := map[string]bool{o.owner: true}
	for {
		sent := time.Now()
		pipe := o.client.Pipeline()
		now := pipe.Time(ctx)
		members := pipe.ZRangeWithScores(ctx, o.key, 0, -1)
		if _, err := pipe.Exec(ctx); err != nil {
			if ctx.Err() == nil {
				o.account.problem("look at the permits: %w", err)
			}
			return
		}
		r := reading{sent, time.Now(), now.Val()}
		o.account.members(o.note(r, members.Val()))
		for _, m := range members.Val() {
			if owner := ownerOf(m.Member.(string)); !known[owner] {
				known[owner] = true
				o.account.shares(owner)
			}
		}
		if !demo.Sleep(ctx, 50*time.Millisecond) {
			return
		}
	}
}

// note takes down what was seen, and returns how many permits had not expired.
func (o *onlooker) note(r reading, members []redis.Z) (held int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.clock.sent.IsZero() || r.blur() < o.clock.blur() {
		o.clock = r
	}
	for _, m := range members {
		expiry := time.UnixMilli(int64(m.Score))
		o.expiry[m.Member.(string)] = expiry
		if expiry.After(r.server) {
			held++
		}
	}
	return held
}

// margin returns how long after told the permit expires, by Redis's clock, at least: what the reading
// leaves open counts against us.
func (o *onlooker) margin(id string, told time.Time) (left time.Duration, seen bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	expiry, seen := o.expiry[id]
	return expiry.Sub(o.clock.server) - told.Sub(o.clock.sent), seen
}

// ownerOf returns the label in a permit's id, <uuid>@<label>~<instance>.
func ownerOf(id string) string {
	_, owner, _ := strings.Cut(id, "@")
	label, _, _ := strings.Cut(owner, "~")
	return label
}
