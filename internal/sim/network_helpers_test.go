package sim_test

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
)

// onNetwork runs f in a bubble with a network, and ends both. That the bubble
// ends at all is part of every test: it does not while a goroutine is left.
func onNetwork(t *testing.T, f func(t *testing.T, n *sim.Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := sim.NewNetwork(1)
		defer n.Close()
		f(t, n)
	})
}

// dialer makes a client of h that does not retry, so that each fault shows.
func dialer(t *testing.T, h *sim.Host, change ...func(*redis.Options)) *redis.Client {
	t.Helper()
	o := h.Options()
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.ReadTimeout = time.Second
	o.ContextTimeoutEnabled = true
	for _, f := range change {
		f(o)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// warm makes a client connect, so that what follows happens to one command.
func warm(t *testing.T, c *redis.Client) {
	t.Helper()
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Fatalf("first ping: %v", err)
	}
}

// value is what the server holds, seen past the network.
func value(n *sim.Network, key string) string {
	v, _ := n.Server().Get(key)
	return v
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}
