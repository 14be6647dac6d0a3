package sim_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
)

// BenchmarkNetwork measures what one command costs in real time. Nearly all of
// a script's cost is miniredis, which makes a Lua state for each call.
func BenchmarkNetwork(b *testing.B) {
	script := redis.NewScript(`
		local t = redis.call("TIME")
		redis.call("ZADD", KEYS[1], t[1], ARGV[1])
		return redis.call("ZCARD", KEYS[1])`)
	bench := func(name string, hosts int, f sim.Faults, do func(b *testing.B, c *redis.Client) error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			inBubble(b, func() {
				n := sim.NewNetwork(1)
				defer n.Close()
				n.SetFaults(f)
				results := make(chan error)
				for i := range hosts {
					go func() {
						c := redis.NewClient(n.Host(fmt.Sprint(i)).Options())
						defer c.Close()
						var err error
						for range (b.N + hosts - 1) / hosts {
							if err = do(b, c); err != nil {
								break
							}
						}
						results <- err
					}()
				}
				for range hosts {
					if err := <-results; err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
	get := func(b *testing.B, c *redis.Client) error { return c.Set(context.Background(), "k", "v", 0).Err() }
	eval := func(b *testing.B, c *redis.Client) error {
		return script.Run(context.Background(), c, []string{"z"}, "m").Err()
	}
	bench("set/1 host", 1, sim.Faults{}, get)
	bench("set/100 hosts/latency", 100, sim.Faults{Latency: time.Millisecond, Jitter: time.Millisecond}, get)
	bench("script/1 host", 1, sim.Faults{}, eval)
	bench("script/100 hosts", 100, sim.Faults{}, eval)
	bench("script/100 hosts/latency", 100, sim.Faults{Latency: time.Millisecond, Jitter: time.Millisecond}, eval)
}

// inBubble runs f in a bubble, which synctest makes only for tests.
func inBubble(b *testing.B, f func()) {
	testing.RunTests(func(string, string) (bool, error) { return true, nil },
		[]testing.InternalTest{{Name: b.Name(), F: func(t *testing.T) {
			synctest.Test(t, func(*testing.T) { f() })
		}}})
}
