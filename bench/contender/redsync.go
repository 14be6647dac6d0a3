package contender

import (
	"context"
	"errors"
	"time"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"
)

// Redsync is redsync on one server, with its defaults: a mutex for each acquire, and 32 tries, 50 to
// 250 ms apart, after which the caller starts again.
func Redsync() Contender {
	return Contender{
		Key:      "redsync",
		Title:    "redsync",
		Module:   "github.com/go-redsync/redsync/v4",
		Waits:    "asks every 50 to 250 ms",
		Poll:     250 * time.Millisecond,
		LockOnly: true,
		Peer:     true,
		Open: func(o Options) (Client, error) {
			client, err := openRedis(o.URL)
			if err != nil {
				return nil, err
			}
			c := &redSync{client: client, sync: redsync.New(goredis.NewPool(client))}
			if o.TTL > 0 {
				c.options = []redsync.Option{redsync.WithExpiry(o.TTL)}
			}
			return c, nil
		},
	}
}

type redSync struct {
	client  *redis.Client
	sync    *redsync.Redsync
	options []redsync.Option
}

func (c *redSync) Semaphore(name string, _ int) (Semaphore, error) {
	return redSyncName{c, "redsync:" + name}, nil
}

func (c *redSync) Close() error { return c.client.Close() }

type redSyncName struct {
	client *redSync
	name   string
}

func (n redSyncName) Acquire(ctx context.Context) (Permit, error) {
	mutex := n.client.sync.NewMutex(n.name, n.client.options...)
	for {
		err := mutex.LockContext(ctx)
		if err == nil {
			return redSyncPermit{mutex: mutex}, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var taken *redsync.ErrTaken
		if !errors.As(err, &taken) && !errors.Is(err, redsync.ErrFailed) {
			return nil, err
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil { // its shortest delay
			return nil, err
		}
	}
}

type redSyncPermit struct{ mutex *redsync.Mutex }

func (redSyncPermit) Lost() <-chan struct{} { return nil }

func (p redSyncPermit) Release() error {
	ok, err := p.mutex.Unlock()
	if err == nil && !ok {
		return errNotHeld
	}
	return err
}
