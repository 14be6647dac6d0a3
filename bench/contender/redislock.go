package contender

import (
	"context"
	"errors"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"
)

// RedisLock is redislock with the retry of its documentation's example: every 100 ms.
func RedisLock() Contender {
	return Contender{
		Key:      "redislock",
		Title:    "redislock",
		Module:   "github.com/bsm/redislock",
		Waits:    "asks every 100 ms",
		Poll:     100 * time.Millisecond,
		LockOnly: true,
		Peer:     true,
		Open: func(o Options) (Client, error) {
			client, err := openRedis(o.URL)
			if err != nil {
				return nil, err
			}
			return &redisLock{client, redislock.New(client), o.ttl()}, nil
		},
	}
}

type redisLock struct {
	client *redis.Client
	locker *redislock.Client
	ttl    time.Duration
}

func (c *redisLock) Semaphore(name string, _ int) (Semaphore, error) {
	return redisLockName{c, "redislock:" + name}, nil
}

func (c *redisLock) Close() error { return c.client.Close() }

type redisLockName struct {
	client *redisLock
	key    string
}

func (n redisLockName) Acquire(ctx context.Context) (Permit, error) {
	for {
		opts := redislock.Options{RetryStrategy: redislock.LinearBackoff(100 * time.Millisecond)}
		lock, err := n.client.locker.Obtain(ctx, n.key, n.client.ttl, &opts)
		if err == nil {
			return redisLockPermit{lock: lock}, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		// Without a deadline of the caller's, it gives up after one TTL.
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, redislock.ErrNotObtained) {
			return nil, err
		}
	}
}

type redisLockPermit struct{ lock *redislock.Lock }

func (redisLockPermit) Lost() <-chan struct{} { return nil }

func (p redisLockPermit) Release() error { return p.lock.Release(context.Background()) }
