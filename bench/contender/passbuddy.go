package contender

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
)

// PassBuddy is this library, opened from a URL with its defaults.
func PassBuddy() Contender {
	return Contender{
		Key:    "passbuddy",
		Title:  "PassBuddy",
		Module: "github.com/eqworks/passbuddy",
		Waits:  "the library's own way",
		Renews: true,
		Tells:  true,
		Open:   func(o Options) (Client, error) { return openPassBuddy(o, passBuddy{}) },
		Expiry: passBuddyExpiry,
		Keys:   func(name string) []string { return []string{passBuddyKey(name)} },
	}
}

// PassBuddyBackground is this library called with a context that cannot end.
func PassBuddyBackground() Contender {
	c := PassBuddy()
	c.Key, c.Title, c.Variant = "passbuddy-background", "PassBuddy, context cannot end", true
	c.Open = func(o Options) (Client, error) { return openPassBuddy(o, passBuddy{background: true}) }
	return c
}

// PassBuddyLinger is this library with permits that stay with their process for 20 ms.
func PassBuddyLinger() Contender {
	c := PassBuddy()
	c.Key, c.Title, c.Variant = "passbuddy-linger", "PassBuddy, Linger 20 ms", true
	c.Open = func(o Options) (Client, error) { return openPassBuddy(o, passBuddy{linger: 20 * time.Millisecond}) }
	return c
}

type passBuddy struct {
	manager    *lease.Manager
	ttl        time.Duration
	linger     time.Duration
	background bool // its context cannot end
}

func openPassBuddy(o Options, c passBuddy) (Client, error) {
	m, err := lease.Open(o.URL, lease.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return nil, err
	}
	c.manager, c.ttl = m, o.TTL
	if o.RenewEvery > 0 {
		// A lease is renewed when a third of its window, the TTL less a twentieth, has passed.
		c.ttl = (o.RenewEvery * 3 * 20 / 19).Truncate(time.Millisecond) + time.Millisecond
	}
	return &c, nil
}

func (c *passBuddy) Semaphore(name string, capacity int) (Semaphore, error) {
	s, err := c.manager.Semaphore(lease.Config{Name: name, Capacity: capacity, TTL: c.ttl, Linger: c.linger})
	if err != nil {
		return nil, err
	}
	return passBuddySemaphore{s, c.background}, nil
}

func (c *passBuddy) Close() error { return c.manager.Close() }

type passBuddySemaphore struct {
	*lease.Semaphore
	background bool
}

func (s passBuddySemaphore) Acquire(ctx context.Context) (Permit, error) {
	if s.background {
		ctx = context.Background()
	}
	l, err := s.Semaphore.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	return passBuddyPermit{l}, nil
}

type passBuddyPermit struct{ *lease.Lease }

func (p passBuddyPermit) Lost() <-chan struct{} { return p.Context().Done() }

func passBuddyKey(name string) string { return "passbuddy-" + name }

// passBuddyExpiry reads the highest score of the sorted set: the expiry in ms by the server's clock.
func passBuddyExpiry(ctx context.Context, url, name string) (time.Time, error) {
	var at time.Time
	err := withRedis(url, func(client *redis.Client) error {
		z, err := client.ZRevRangeWithScores(ctx, passBuddyKey(name), 0, 0).Result()
		if err != nil {
			return err
		}
		if len(z) == 0 {
			return errors.New("nobody holds a permit")
		}
		at = time.UnixMilli(int64(z[0].Score))
		return nil
	})
	return at, err
}
