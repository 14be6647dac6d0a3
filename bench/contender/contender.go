// Package contender has what the benchmark compares, behind one small interface. To add one, write a file
// that makes a Contender and put it on the list in All.
package contender

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Contender is a way to share permits among processes. Its fields are facts about it; the workloads go
// by them, and the tables show them.
type Contender struct {
	Key    string // short and unique, for -only and in the raw results
	Title  string // in tables and plots
	Module string // the Go module whose version stands beside it; empty: none
	Waits  string // how a waiter learns that a permit is free
	// Poll is the longest time between two polls of a waiter, zero where it is told.
	Poll time.Duration

	LockOnly bool // has no capacity above 1
	OneHost  bool // lives inside one process
	Variant  bool // this library again, used in another way
	Peer     bool // a Go module for leases that expire, other than this library
	Renews   bool // renews its leases by itself
	Tells    bool // tells a holder that its lease is lost

	// Open makes a client. It may connect or leave that to the first acquire.
	Open func(Options) (Client, error)
	// Prepare makes a semaphore ready, once for all processes, before its first use. Nil: nothing to do.
	Prepare func(ctx context.Context, url, name string, capacity int) error
	// Expiry reads from Redis when the lease on a name ends if nobody renews it. Only where Tells is set.
	Expiry func(ctx context.Context, url, name string) (time.Time, error)
	// Keys are the Redis keys that a lease on a name lives in. Only where Tells is set.
	Keys func(name string) []string
}

// Options are the same for every contender. Zero means the contender's own default.
type Options struct {
	URL     string        // of Redis; empty for a contender inside one process
	Callers int           // how many goroutines will use the client at once
	TTL     time.Duration // of a lease
	// RenewEvery asks for a renewal of each lease at this interval; the TTL follows from it by the
	// contender's own rule. Only for those that renew.
	RenewEvery time.Duration
}

// ttl is what is used where a contender has no default of its own: this library's.
func (o Options) ttl() time.Duration {
	if o.TTL > 0 {
		return o.TTL
	}
	return 15 * time.Second
}

// A Client is one process's side of a contender. Safe for concurrent use.
type Client interface {
	// Semaphore returns a handle, which callers may share. It does no I/O.
	Semaphore(name string, capacity int) (Semaphore, error)
	// Close ends the client, and with it all calls under way. Permits are not given back.
	Close() error
}

// A Semaphore is a name with a capacity. Safe for concurrent use.
type Semaphore interface {
	// Acquire waits until it has a permit or ctx ends.
	Acquire(ctx context.Context) (Permit, error)
}

// A Permit is what a holder has.
type Permit interface {
	// Release gives the permit back. It waits for Redis's answer where there is one.
	Release() error
	// Lost returns a channel that is closed when the permit is lost, nil where nobody tells.
	Lost() <-chan struct{}
}

// All returns every contender in the order of the tables.
func All() []Contender {
	return []Contender{
		PassBuddy(),
		SetNX(),
		SortedSet(),
		BLPop(),
		RueidisLock(true),
		RueidisLock(false),
		Redsync(),
		RedisLock(),
		Local(),
		PassBuddyBackground(),
		PassBuddyLinger(),
		TwoScripts(),
		RawRenewal(),
	}
}

// Find returns the contender with a key. It fails with the list of keys when there is none.
func Find(key string) (Contender, error) {
	all := All()
	if i := slices.IndexFunc(all, func(c Contender) bool { return c.Key == key }); i >= 0 {
		return all[i], nil
	}
	keys := make([]string, len(all))
	for i, c := range all {
		keys[i] = c.Key
	}
	return Contender{}, fmt.Errorf("no contender %q; there are %s", key, strings.Join(keys, ", "))
}

// deaf is part of a permit whose holder is never told of a loss.
type deaf struct{}

func (deaf) Lost() <-chan struct{} { return nil }

// pause waits for d. It returns ctx's error if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
