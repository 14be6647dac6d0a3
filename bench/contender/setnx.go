package contender

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

// pollEvery is how often those ask again that would otherwise need a rule of the caller's.
const pollEvery = 5 * time.Millisecond

// SetNX is the lock that the Redis documentation describes for one server: SET NX PX to take it, and a
// script that deletes the key if the value is still the holder's.
func SetNX() Contender {
	return Contender{
		Key:      "setnx",
		Title:    "SET NX PX + script",
		Module:   goRedis,
		Waits:    "asks every 5 ms",
		Poll:     pollEvery,
		LockOnly: true,
		Open: func(o Options) (Client, error) {
			client, err := openRedis(o.URL)
			if err != nil {
				return nil, err
			}
			return &setNX{client, o.ttl()}, nil
		},
	}
}

// compareAndDelete: KEYS[1] the lock, ARGV[1] the holder's value. Replies 1 if it was deleted.
var compareAndDelete = redis.NewScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
return redis.call('DEL', KEYS[1])
`)

var errNotHeld = errors.New("not held any more")

type setNX struct {
	client *redis.Client
	ttl    time.Duration
}

func (c *setNX) Semaphore(name string, _ int) (Semaphore, error) {
	return &setNXLock{c, "setnx:" + name}, nil
}

func (c *setNX) Close() error { return c.client.Close() }

type setNXLock struct {
	*setNX
	key string
}

func (l *setNXLock) Acquire(ctx context.Context) (Permit, error) {
	id := newID()
	for {
		err := l.client.SetArgs(ctx, l.key, id, redis.SetArgs{Mode: "NX", TTL: l.ttl}).Err()
		if err == nil {
			return &setNXPermit{lock: l, id: id}, nil
		}
		if !errors.Is(err, redis.Nil) {
			return nil, err
		}
		if err := pause(ctx, pollEvery); err != nil {
			return nil, err
		}
	}
}

type setNXPermit struct {
	deaf
	lock *setNXLock
	id   string
}

func (p *setNXPermit) Release() error {
	n, err := compareAndDelete.Run(context.Background(), p.lock.client, []string{p.lock.key}, p.id).Int()
	if err == nil && n == 0 {
		return errNotHeld
	}
	return err
}
