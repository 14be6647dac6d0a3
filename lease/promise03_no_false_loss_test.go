package lease_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// Trouble shorter than TTL/3 costs no lease, whenever it comes between two renewals.
func TestPromise3NoFalseLoss(t *testing.T) {
	const short = worldTTL/3 - 50*time.Millisecond
	for _, tc := range []struct {
		name    string
		trouble func(*world, *sim.Host)
	}{
		{"refused connections", func(_ *world, h *sim.Host) { h.Refuse(); time.Sleep(short); h.Heal() }},
		{"a server that hangs", func(w *world, _ *sim.Host) { w.net.Stall(); time.Sleep(short); w.net.Resume() }},
		{"lost replies", func(w *world, h *sim.Host) {
			h.SetFaults(sim.Faults{CutReply: 1})
			time.Sleep(short)
			h.SetFaults(sim.Faults{})
		}},
		{"a partition", func(_ *world, h *sim.Host) { h.Partition(); time.Sleep(short); h.Heal() }},
		{"a restart that keeps the data", func(w *world, h *sim.Host) {
			h.Refuse()
			w.net.Restart(true)
			time.Sleep(short)
			h.Heal()
		}},
		{"scripts that are forgotten", func(w *world, _ *sim.Host) { w.net.FlushScripts() }},
		{"LOADING", func(w *world, _ *sim.Host) { answer(w, "LOADING Redis is loading the dataset in memory", short) }},
		{"READONLY", func(w *world, _ *sim.Host) { answer(w, "READONLY You can't write against a read only replica.", short) }},
		{"CLUSTERDOWN", func(w *world, _ *sim.Host) { answer(w, "CLUSTERDOWN The cluster is down", short) }},
		{"OOM", func(w *world, _ *sim.Host) {
			answer(w, "OOM command not allowed when used memory > 'maxmemory'.", short)
		}},
	} {
		for _, honest := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/honest=%v", tc.name, honest), func(t *testing.T) {
				inBubble(t, func(w *world) {
					m, host := w.process("p", func(o *redis.Options, _ *lease.Options) { o.ContextTimeoutEnabled = honest })
					l := w.acquire(w.semaphore(m, 1))
					for phase := time.Duration(0); phase < worldTTL/3; phase += worldTTL / 30 {
						time.Sleep(phase)
						tc.trouble(w, host)
						time.Sleep(worldTTL)
						w.mustHold(l)
					}
					if err := l.Release(); err != nil {
						w.Error(err)
					}
				})
			})
		}
	}
}

func answer(w *world, msg string, d time.Duration) {
	w.net.SetError(msg)
	time.Sleep(d)
	w.net.SetError("")
}

// Promise 3, where the server has just been slow and an attempt may therefore take long. The attempts of that time have
// left several connections, all of which are dead after a partition. Both troubles together are shorter than TTL/3.
func TestPromise3AnAttemptThatMayTakeLongHangs(t *testing.T) {
	const slow, short = worldTTL / 5, worldTTL / 10
	for weight, step := range map[int]time.Duration{1: worldTTL / 600, 1000: worldTTL / 30} {
		for _, tc := range []struct {
			name    string
			trouble func(*world, *sim.Host)
		}{
			{"lost replies", func(_ *world, h *sim.Host) {
				h.SetFaults(sim.Faults{DropReply: 1})
				time.Sleep(short)
				h.SetFaults(sim.Faults{})
			}},
			{"a partition", func(_ *world, h *sim.Host) { h.Partition(); time.Sleep(short); h.Heal() }},
			{"a server that hangs", func(w *world, _ *sim.Host) { w.net.Stall(); time.Sleep(short); w.net.Resume() }},
		} {
			t.Run(fmt.Sprintf("%s, leases of %d", tc.name, weight), func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(w *world) {
					m, host := w.process("p")
					s := w.semaphore(m, 2*weight)
					first, second := w.acquire(s, lease.Weight(weight)), w.acquire(s, lease.Weight(weight))
					for phase := worldTTL / 60; phase < worldTTL/3; phase += step {
						w.net.Stall()
						time.Sleep(slow)
						w.net.Resume()
						time.Sleep(phase)
						tc.trouble(w, host)
						time.Sleep(3*worldTTL + phase/2)
						w.mustHold(first)
						w.mustHold(second)
					}
				})
			})
		}
	}
}

// Part of TestTimesOnRealServers.
func testNoFalseLoss(t *testing.T) {
	for client, open := range clients {
		t.Run(client, func(t *testing.T) {
			t.Parallel() // beside the other of this test: each has its own server
			inGroups(t, *trials, open, func(server *redistest.Server, group []*trial) {
				admin := server.Client(t)
				server.Pause()
				time.Sleep(realShort)
				server.Resume()
				time.Sleep(realTTL)
				admin.ScriptFlush(context.Background())
				for i, x := range group {
					[]func(){x.proxy.Swallow, x.proxy.SwallowReplies, x.proxy.Refuse, x.proxy.Cut, func() { x.proxy.CutAfterRequest(3) }}[i%5]()
				}
				time.Sleep(realShort)
				for _, x := range group {
					x.proxy.Heal()
				}
				time.Sleep(realTTL)
				for i, x := range group {
					if err := x.lease.Err(); err != nil {
						t.Errorf("trial %d: %v", i, err)
					}
					if err := x.lease.Release(); err != nil {
						t.Errorf("trial %d: Release: %v", i, err)
					}
				}
			})
		})
	}
}
