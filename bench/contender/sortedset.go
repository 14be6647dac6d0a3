package contender

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// SortedSet is the plain semaphore on a sorted set, as a careful hand writes it: one script that reads
// the server's time, purges, counts and adds, and ZREM to give back.
func SortedSet() Contender {
	return Contender{
		Key:    "sortedset",
		Title:  "sorted-set script",
		Module: goRedis,
		Waits:  "asks every 5 ms",
		Poll:   pollEvery,
		Open:   func(o Options) (Client, error) { return openSortedSet(o, false) },
	}
}

// TwoScripts is the baseline of a pair: the same with a release by EVALSHA too, so that each acquire and
// release is two plain EVALSHA of go-redis.
func TwoScripts() Contender {
	c := SortedSet()
	c.Key, c.Title = "two-evalsha", "raw: two plain EVALSHA"
	c.Open = func(o Options) (Client, error) { return openSortedSet(o, true) }
	return c
}

// plainAcquire: KEYS[1] the sorted set; ARGV[1] TTL in ms, ARGV[2] capacity, ARGV[3] id. Replies 1 if the
// id was added.
var plainAcquire = redis.NewScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then
  return 0
end
redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[3])
return 1
`)

// plainRelease: KEYS[1] the sorted set; ARGV[1] id. Replies 1 if it was there.
var plainRelease = redis.NewScript(`return redis.call('ZREM', KEYS[1], ARGV[1])`)

type sortedSet struct {
	client *redis.Client
	ttl    time.Duration
	script bool // release by script
}

func openSortedSet(o Options, script bool) (*sortedSet, error) {
	client, err := openRedis(o.URL)
	if err != nil {
		return nil, err
	}
	return &sortedSet{client, o.ttl(), script}, nil
}

func (c *sortedSet) Semaphore(name string, capacity int) (Semaphore, error) {
	return &sortedSetSemaphore{c, sortedSetKey(name), capacity}, nil
}

func (c *sortedSet) Close() error { return c.client.Close() }

func sortedSetKey(name string) string { return "sortedset:" + name }

type sortedSetSemaphore struct {
	*sortedSet
	key      string
	capacity int
}

func (s *sortedSetSemaphore) Acquire(ctx context.Context) (Permit, error) {
	p, err := s.acquire(ctx)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (s *sortedSetSemaphore) acquire(ctx context.Context) (*sortedSetPermit, error) {
	id := newID()
	for {
		n, err := plainAcquire.Run(ctx, s.client, []string{s.key}, s.ttl.Milliseconds(), s.capacity, id).Int()
		if err != nil {
			return nil, err
		}
		if n == 1 {
			return &sortedSetPermit{semaphore: s, id: id}, nil
		}
		if err := pause(ctx, pollEvery); err != nil {
			return nil, err
		}
	}
}

type sortedSetPermit struct {
	deaf
	semaphore *sortedSetSemaphore
	id        string
}

func (p *sortedSetPermit) Release() error {
	s, ctx := p.semaphore, context.Background()
	var n int64
	var err error
	if s.script {
		n, err = plainRelease.Run(ctx, s.client, []string{s.key}, p.id).Int64()
	} else {
		n, err = s.client.ZRem(ctx, s.key, p.id).Result()
	}
	if err == nil && n == 0 {
		return errNotHeld
	}
	return err
}
