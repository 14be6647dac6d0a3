package lease

import (
	"context"
	"strings"
	"time"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/lease/scripts"
)

// Ping reports whether the manager can work: Redis is reachable, it is new enough, and its user may run
// the scripts and what they call. It takes, renews and releases a permit of a semaphore named "#ping",
// whose fencing token stays for a day, on a Cluster in that one slot, and pings every master. It warns in the log when Redis may evict keys.
// It waits until ctx ends, and for five seconds where ctx has no deadline. It returns a *RedisError.
func (m *Manager) Ping(ctx context.Context) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, pingTimeout, errUnanswered)
		defer cancel()
	}
	done := make(chan error, 1)
	go func() { done <- m.ping(ctx) }() // a client may not let a context bound its calls
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return &RedisError{Op: "ping", Name: pingName, Err: context.Cause(ctx)}
	}
}

const pingTimeout = 5 * time.Second

func (m *Manager) ping(ctx context.Context) error {
	m.mu.Lock()
	closed := m.closed
	m.mu.Unlock()
	if closed {
		return ErrClosed
	}
	fail := func(err error) error { return &RedisError{Op: "ping", Name: pingName, Err: err} }
	cfg, err := Config{Name: pingName, Capacity: maxCapacity, TTL: 5 * time.Second}.complete(Config{})
	if err != nil {
		return err
	}
	grants := []*protocol.Grant{{ID: m.newID(1), Weight: 1}}
	calls := []protocol.Call{
		{Verb: protocol.Acquire, Grants: grants, Ages: []int64{protocol.Once}},
		{Verb: protocol.Renew, Grants: grants},
		{Verb: protocol.Release, Grants: grants, MayBeQueued: true, Promote: true},
	}
	keys := scripts.KeysOf(m.prefix, cfg.Name, cfg.TTL, cfg.Capacity)
	m.transport.Run(ctx, keys, calls)
	for i := range calls {
		if err := calls[i].Failure.Err; err != nil {
			return fail(err)
		}
	}
	if err := m.transport.Check(ctx, keys); err != nil {
		return fail(err)
	}
	if err := m.transport.PingMasters(ctx); err != nil {
		return fail(err)
	}
	m.warnOfEviction(ctx)
	return nil
}

const pingName = "#ping"

// warnOfEviction reads the memory policy where the user may: a key that is evicted is a permit lost.
func (m *Manager) warnOfEviction(ctx context.Context) {
	info, err := m.client.Info(ctx, "memory").Result()
	if err != nil {
		return
	}
	for line := range strings.Lines(info) {
		policy, found := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:")
		if found && policy != "noeviction" {
			m.warn("", "eviction", "lease: Redis may evict keys; leases can be lost: set maxmemory-policy to noeviction", "maxmemory-policy", policy)
		}
	}
}
