package contender

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// RawRenewal is the baseline of renewals: permits of the plain sorted set, kept alive by one goroutine
// that sends a ZADD XX for each of them, 500 in a pipeline. It neither checks the answers one by one nor
// tells anybody anything, so it shows what the commands alone cost.
func RawRenewal() Contender {
	c := SortedSet()
	c.Key, c.Title = "raw-renewal", "raw: pipelines of ZADD XX"
	c.Renews = true
	c.Open = openRawRenewal
	return c
}

const renewalsInPipeline = 500

type rawRenewal struct {
	*sortedSet
	every time.Duration
	stop  context.CancelFunc
	done  chan struct{}

	mu   sync.Mutex
	held []*sortedSetPermit
}

func openRawRenewal(o Options) (Client, error) {
	if o.RenewEvery > 0 {
		o.TTL = 3 * o.RenewEvery
	} else {
		o.RenewEvery = o.ttl() / 3
	}
	plain, err := openSortedSet(o, false)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c := &rawRenewal{sortedSet: plain, every: o.RenewEvery, stop: cancel, done: make(chan struct{})}
	go c.renew(ctx)
	return c, nil
}

func (c *rawRenewal) renew(ctx context.Context) {
	defer close(c.done)
	tick := time.NewTicker(c.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.mu.Lock()
		held := c.held[:len(c.held):len(c.held)]
		c.mu.Unlock()
		for len(held) > 0 {
			n := min(renewalsInPipeline, len(held))
			_, _ = c.client.Pipelined(ctx, func(p redis.Pipeliner) error {
				score := float64(time.Now().Add(c.ttl).UnixMilli())
				for _, permit := range held[:n] {
					p.ZAddXX(ctx, permit.semaphore.key, redis.Z{Score: score, Member: permit.id})
				}
				return nil
			})
			held = held[n:]
		}
	}
}

func (c *rawRenewal) Semaphore(name string, capacity int) (Semaphore, error) {
	return &rawRenewalSemaphore{c, &sortedSetSemaphore{c.sortedSet, sortedSetKey(name), capacity}}, nil
}

// Close stops the renewals, waits for the goroutine and closes the client.
func (c *rawRenewal) Close() error {
	c.stop()
	<-c.done
	return c.sortedSet.Close()
}

type rawRenewalSemaphore struct {
	client *rawRenewal
	*sortedSetSemaphore
}

// Acquire returns a permit that is renewed until the client is closed, also after its release.
func (s *rawRenewalSemaphore) Acquire(ctx context.Context) (Permit, error) {
	p, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	s.client.mu.Lock()
	s.client.held = append(s.client.held, p)
	s.client.mu.Unlock()
	return p, nil
}
