package contender

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"
)

// RueidisLock is the lock of rueidis. single is what its documentation recommends for one server: a
// majority of 1, and NOLOOP; otherwise its defaults, which take two of three keys.
func RueidisLock(single bool) Contender {
	c := Contender{
		Key:      "rueidislock",
		Title:    "rueidislock, defaults",
		Module:   "github.com/redis/rueidis",
		Waits:    "client-side caching tells",
		LockOnly: true,
		Peer:     true,
		Renews:   true,
		Tells:    true,
	}
	majority := 2
	if single {
		c.Key, c.Title, majority = "rueidislock-1", "rueidislock, majority 1", 1
	}
	c.Open = func(o Options) (Client, error) { return openRueidisLock(o, single) }
	c.Keys = func(name string) []string {
		keys := make([]string, 2*majority-1)
		for i := range keys {
			keys[i] = fmt.Sprintf("rueidislock:%d:%s", i, name)
		}
		return keys
	}
	c.Expiry = func(ctx context.Context, url, name string) (time.Time, error) {
		return expiryOfMajority(ctx, url, c.Keys(name), majority)
	}
	return c
}

// expiryOfMajority returns when fewer than majority of the keys are left.
func expiryOfMajority(ctx context.Context, url string, keys []string, majority int) (time.Time, error) {
	var ends []time.Time
	err := withRedis(url, func(client *redis.Client) error {
		for _, key := range keys {
			left, err := client.PTTL(ctx, key).Result()
			if err != nil {
				return err
			}
			if left > 0 {
				ends = append(ends, time.Now().Add(left))
			}
		}
		if len(ends) < majority {
			return errors.New("nobody holds the lock")
		}
		return nil
	})
	if err != nil {
		return time.Time{}, err
	}
	slices.SortFunc(ends, time.Time.Compare)
	return ends[len(ends)-majority], nil
}

type rueidisLock struct{ rueidislock.Locker }

func openRueidisLock(o Options, single bool) (Client, error) {
	opts, err := rueidis.ParseURL(o.URL)
	if err != nil {
		return nil, fmt.Errorf("REDIS_URL: %w", err)
	}
	lo := rueidislock.LockerOption{ClientOption: opts, KeyValidity: o.TTL}
	if single {
		lo.KeyMajority, lo.NoLoopTracking = 1, true
	}
	if o.RenewEvery > 0 {
		lo.ExtendInterval, lo.KeyValidity = o.RenewEvery, 2*o.RenewEvery // its own proportion
	}
	locker, err := rueidislock.NewLocker(lo)
	if err != nil {
		return nil, err
	}
	return rueidisLock{locker}, nil
}

func (c rueidisLock) Semaphore(name string, _ int) (Semaphore, error) {
	return rueidisLockName{c.Locker, name}, nil
}

func (c rueidisLock) Close() error {
	c.Locker.Close()
	return nil
}

type rueidisLockName struct {
	locker rueidislock.Locker
	name   string
}

func (l rueidisLockName) Acquire(ctx context.Context) (Permit, error) {
	held, release, err := l.locker.WithContext(ctx, l.name)
	if err != nil {
		return nil, err
	}
	return &rueidisLockPermit{held, release}, nil
}

type rueidisLockPermit struct {
	held    context.Context
	release context.CancelFunc
}

func (p *rueidisLockPermit) Lost() <-chan struct{} { return p.held.Done() }

func (p *rueidisLockPermit) Release() error {
	p.release()
	return nil
}
