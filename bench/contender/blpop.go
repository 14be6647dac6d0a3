package contender

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// BLPop is a list of tokens: BLPOP takes one and RPUSH puts it back. The server queues the waiters, so it
// is fair and fast, but a holder that dies takes its token along for ever: it is the bound to compare
// with, not a lease.
func BLPop() Contender {
	return Contender{
		Key:    "blpop",
		Title:  "BLPOP, no TTL",
		Module: goRedis,
		Waits:  "blocked in Redis",
		Open:   openBLPop,
		Prepare: func(ctx context.Context, url, name string, capacity int) error {
			return withRedis(url, func(client *redis.Client) error {
				tokens := make([]any, capacity)
				for i := range tokens {
					tokens[i] = i
				}
				return client.RPush(ctx, tokenList(name), tokens...).Err()
			})
		},
	}
}

func tokenList(name string) string { return "tokens:" + name }

type blPop struct{ client *redis.Client }

func openBLPop(o Options) (Client, error) {
	opts, err := redis.ParseURL(o.URL)
	if err != nil {
		return nil, fmt.Errorf("REDIS_URL: %w", err)
	}
	// A waiter keeps a connection to itself. Releases need some beside.
	opts.PoolSize = o.Callers + 8
	return blPop{redis.NewClient(opts)}, nil
}

func (c blPop) Semaphore(name string, _ int) (Semaphore, error) {
	return blPopSemaphore{c.client, tokenList(name)}, nil
}

func (c blPop) Close() error { return c.client.Close() }

type blPopSemaphore struct {
	client *redis.Client
	key    string
}

// Acquire waits in Redis. go-redis cannot end that wait when ctx does: closing the client does.
func (s blPopSemaphore) Acquire(ctx context.Context) (Permit, error) {
	popped, err := s.client.BLPop(ctx, 0, s.key).Result()
	if err != nil {
		return nil, err
	}
	return &blPopPermit{semaphore: s, token: popped[1]}, nil
}

type blPopPermit struct {
	deaf
	semaphore blPopSemaphore
	token     string
}

func (p *blPopPermit) Release() error {
	return p.semaphore.client.RPush(context.Background(), p.semaphore.key, p.token).Err()
}
