package lease_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// The server answers, only slowly: it is far away.
func TestASlowServerCostsNoLease(t *testing.T) {
	const ttl = 6 * time.Second
	for _, rtt := range []time.Duration{ttl / 24, ttl / 15, ttl / 10, ttl / 7, ttl / 5} {
		for _, honest := range []bool{true, false} {
			t.Run(fmt.Sprintf("a round trip of %v, a context bounds calls: %v", rtt, honest), func(t *testing.T) {
				inBubble(t, func(w *world) {
					m, _ := w.process("p", func(o *redis.Options, _ *lease.Options) {
						o.ContextTimeoutEnabled = honest
						o.ReadTimeout, o.WriteTimeout = ttl, ttl
						o.DialTimeout, o.DialerRetries = ttl, 1
					})
					s := w.semaphore(m, 1, func(c *lease.Config) { c.TTL = ttl })
					l := w.acquire(s)
					w.net.SetFaults(sim.Faults{Latency: rtt / 2})
					if rtt <= ttl/10 { // a second connection takes five round trips
						w.acquire(w.semaphore(m, 1, func(c *lease.Config) { c.Name, c.TTL = "other", ttl })).Release()
					}
					time.Sleep(5 * ttl)
					w.mustHold(l)
					if rtt <= ttl/10 { // connecting anew takes five round trips
						w.net.Restart(true)
						time.Sleep(5 * ttl)
						w.mustHold(l)
					}
					// Where it has to connect first, five round trips, it may take longer than the two seconds that Release waits.
					if err := l.Release(); err != nil && 5*rtt < 2*time.Second {
						w.Error(err)
					}
					if time.Sleep(ttl / 2); rtt <= ttl/10 && len(w.members()) > 0 {
						w.Errorf("half a TTL after Release, Redis has %v", w.members())
					}
				})
			})
		}
	}
}

// A lease of 1,000 permits takes a call of its own, so that several are renewed in a pipeline.
func TestASlowServerCostsNoHeavyLease(t *testing.T) {
	const ttl = 6 * time.Second
	tests := []struct{ leases, ttls int }{{5, 20}, {20, 2}}
	if *heaviest { // this takes the simulated server a minute of real time
		tests = []struct{ leases, ttls int }{{5, 20}, {10, 20}, {20, 20}}
	}
	for _, tc := range tests {
		for _, rtt := range []time.Duration{ttl / 10, ttl / 7} {
			for _, jitter := range []time.Duration{0, 75 * time.Millisecond} {
				if (testing.Short() || !thorough() && !*heaviest) && (tc.leases > 5 || jitter > 0) {
					continue // it takes the simulated server a second of real time
				}
				t.Run(fmt.Sprintf("%d leases for %d TTLs, a round trip of %v and up to %v more", tc.leases, tc.ttls, rtt, 2*jitter), func(t *testing.T) {
					t.Parallel()
					inBubble(t, func(w *world) {
						m, _ := w.process("p")
						s := w.semaphore(m, 1000*tc.leases, func(c *lease.Config) { c.TTL = ttl })
						held := make([]*lease.Lease, tc.leases)
						for i := range held {
							held[i] = w.acquire(s, lease.Weight(1000))
						}
						w.net.SetFaults(sim.Faults{Latency: rtt / 2, Jitter: jitter})
						time.Sleep(time.Duration(tc.ttls) * ttl)
						for _, l := range held {
							w.mustHold(l)
						}
						if rtt <= ttl/10 && tc.ttls == 20 { // connecting anew takes five round trips
							w.net.Restart(true)
							time.Sleep(3 * ttl)
							for _, l := range held {
								w.mustHold(l)
							}
						}
					})
				})
			}
		}
	}
}

// The first call of all takes five round trips: TCP, HELLO, the client's name, EVALSHA, EVAL.
func TestASlowServerIsReachedByTheFirstCall(t *testing.T) {
	const ttl = 6 * time.Second
	for _, rtt := range []time.Duration{ttl / 24, ttl / 15, ttl / 10} {
		t.Run(rtt.String(), func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.net.SetFaults(sim.Faults{Latency: rtt / 2})
				m, _ := w.process("p", func(o *redis.Options, _ *lease.Options) { o.ContextTimeoutEnabled = true })
				l := w.acquire(w.semaphore(m, 1, func(c *lease.Config) { c.TTL = ttl }))
				time.Sleep(5 * ttl)
				w.mustHold(l)
				_ = l.Release()
			})
		})
	}
}
