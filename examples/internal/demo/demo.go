// Package demo is what the examples share: a Redis to talk to, and a network on the way to it that can
// stall.
package demo

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// A Redis is the server that REDIS_URL names, or one inside this process when that is not set.
type Redis struct {
	Name    string   // for people
	Network *Network // that the clients of Client go through

	others   []*Network // of Machine
	options  redis.Options
	embedded *miniredis.Miniredis // nil with REDIS_URL
}

// Start finds the Redis of REDIS_URL, or starts one inside this process. It does not connect.
func Start() (*Redis, error) {
	if url := os.Getenv("REDIS_URL"); url != "" {
		o, err := redis.ParseURL(url)
		if err != nil {
			return nil, fmt.Errorf("REDIS_URL: %w", err)
		}
		// The address alone: the URL may hold a password.
		return &Redis{Name: "Redis at " + o.Addr, Network: newNetwork(), options: *o}, nil
	}
	embedded, err := miniredis.Run()
	if err != nil {
		return nil, fmt.Errorf("start the embedded Redis: %w", err)
	}
	return &Redis{
		Name:     "an embedded Redis (set REDIS_URL for another)",
		Network:  newNetwork(),
		options:  redis.Options{Addr: embedded.Addr()},
		embedded: embedded,
	}, nil
}

// Client returns a client whose connections go through Network. The caller closes it.
func (r *Redis) Client() *redis.Client {
	o := r.clientOptions()
	o.Dialer = r.Network.dialer(redis.NewDialer(o))
	return redis.NewClient(o)
}

// Machine returns a client whose connections go through a network of its own, which is closed with r. The
// caller closes the client. It is not safe for concurrent use.
func (r *Redis) Machine() (*redis.Client, *Network) {
	n := newNetwork()
	r.others = append(r.others, n)
	o := r.clientOptions()
	o.Dialer = n.dialer(redis.NewDialer(o))
	return redis.NewClient(o), n
}

// Direct returns a client that no stall affects: the view of an onlooker who stands beside Redis. The
// caller closes it.
func (r *Redis) Direct() *redis.Client { return redis.NewClient(r.clientOptions()) }

// clientOptions are those that lease.Open uses: a call returns when its context ends, and a refused
// connection is an error at once.
func (r *Redis) clientOptions() *redis.Options {
	o := r.options
	o.ContextTimeoutEnabled = true
	o.DialTimeout = cmp.Or(o.DialTimeout, 3*time.Second)
	o.DialerRetries = cmp.Or(o.DialerRetries, 1)
	return &o
}

// Close ends the network and the embedded server. The clients are closed before.
func (r *Redis) Close() {
	r.Network.close()
	for _, n := range r.others {
		n.close()
	}
	if r.embedded != nil {
		r.embedded.Close()
	}
}

// Sleep waits for d and reports whether it passed before ctx ended.
func Sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
