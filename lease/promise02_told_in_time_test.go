package lease_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// Whatever hangs, the context ends within the window, which ends before the permit's expiry in Redis.
func TestPromise2ToldInTime(t *testing.T) {
	for _, tc := range []struct {
		name    string
		options func(*redis.Options, *lease.Options)
		hang    func(*world, *sim.Host, *lease.Manager)
	}{
		{"Redis hangs", nil, func(w *world, _ *sim.Host, _ *lease.Manager) { w.net.Stall() }},
		{"the connection is a black hole", nil, func(_ *world, h *sim.Host, _ *lease.Manager) { h.Partition() }},
		{"Redis is gone", nil, func(_ *world, h *sim.Host, _ *lease.Manager) { h.Refuse() }},
		{"a context bounds every call", func(o *redis.Options, _ *lease.Options) { o.ContextTimeoutEnabled = true },
			func(_ *world, h *sim.Host, _ *lease.Manager) { h.Partition() }},
		{"every connection of the pool is stuck", func(o *redis.Options, _ *lease.Options) {
			o.PoolSize, o.PipelinePoolSize, o.ReadTimeout = 1, -1, time.Hour
		},
			func(w *world, h *sim.Host, m *lease.Manager) {
				h.SetFaults(sim.Faults{DropReply: 1})
				go m.Client().Get(context.Background(), "x")
				synctest.Wait()
				h.SetFaults(sim.Faults{})
			}},
		{"a renewal never returns", nil, func(_ *world, _ *sim.Host, m *lease.Manager) { m.Client().AddHook(hang{}) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.net.SetFaults(sim.Faults{Latency: 3 * time.Millisecond})
				change := tc.options
				if change == nil {
					change = func(*redis.Options, *lease.Options) {}
				}
				m, host := w.process("p", change)
				l := w.acquire(w.semaphore(m, 1))
				child, cancel := context.WithCancel(l.Context())
				defer cancel()
				time.Sleep(worldTTL) // it has been renewed
				tc.hang(w, host, m)
				<-child.Done()
				if late := time.Since(l.TrustedUntil()); late > 0 {
					w.Errorf("told %v after the window's end", late)
				}
				expiry, counts := w.members()[l.ID()]
				if !counts || time.Until(expiry) < worldTTL/20 {
					w.Errorf("told when Redis had %v left for the permit, want the margin at least", time.Until(expiry))
				}
				if !errors.Is(context.Cause(child), lease.ErrLost) {
					w.Errorf("cause %v", context.Cause(child))
				}
				w.net.Resume()
			})
		})
	}
}

// A hang is a client whose calls do not return before the client is closed: for an hour of the bubble.
type hang struct{}

func (hang) DialHook(next redis.DialHook) redis.DialHook { return next }

func (hang) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(context.Context, redis.Cmder) error { time.Sleep(time.Hour); return net.ErrClosed }
}

func (hang) ProcessPipelineHook(redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(context.Context, []redis.Cmder) error { time.Sleep(time.Hour); return net.ErrClosed }
}

func TestASlowLoggerHoldsUpNoContext(t *testing.T) {
	inBubble(t, func(w *world) {
		slow := writer(func([]byte) { time.Sleep(100 * time.Millisecond) })
		m, _ := w.process("p", func(_ *redis.Options, o *lease.Options) { o.Logger = slog.New(slog.NewTextHandler(slow, nil)) })
		s := w.semaphore(m, 10)
		var told sync.WaitGroup
		for range 10 {
			l := w.acquire(s)
			child, cancel := context.WithCancel(l.Context())
			defer cancel()
			told.Go(func() {
				<-child.Done()
				if late := time.Since(l.TrustedUntil()); late > 0 {
					w.Errorf("told %v after the window's end", late)
				}
			})
		}
		w.net.Stall()
		told.Wait()
		w.net.Resume()
	})
}

// Part of TestTimesOnRealServers.
func testToldInTime(t *testing.T) {
	for client, open := range clients {
		for _, fault := range []string{"the server is stopped", "the connection swallows everything"} {
			t.Run(fault+"/"+client, func(t *testing.T) {
				t.Parallel() // beside the others of this test: each has its own server
				var late []time.Duration
				inGroups(t, *trials, open, func(server *redistest.Server, group []*trial) {
					late = append(late, strikeForGood(t, fault, server, group)...)
				})
				if t.Failed() {
					return
				}
				slices.Sort(late)
				t.Logf("%d trials: told after the window's end: p50 %v, p99 %v, max %v; the margin is %v",
					len(late), late[len(late)/2], late[len(late)*99/100], late[len(late)-1], realTTL/20)
			})
		}
	}
}

// strikeForGood reports how long after the ends of their windows the holders were told.
func strikeForGood(t *testing.T, fault string, server *redistest.Server, group []*trial) []time.Duration {
	starved := watchStarvation(t)
	told := make([]chan time.Time, len(group))
	for i, x := range group {
		child, cancel := context.WithCancel(x.lease.Context())
		defer cancel()
		told[i] = make(chan time.Time, 1)
		go func() { <-child.Done(); told[i] <- time.Now() }()
	}
	expiries, err := server.Client(t).ZRangeWithScores(context.Background(), "passbuddy-gpu", 0, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	if fault == "the server is stopped" {
		server.Pause()
		defer server.Resume()
	}
	for _, x := range group {
		x.proxy.Swallow()
	}
	var late []time.Duration
	for i, x := range group {
		at, end := <-told[i], x.lease.TrustedUntil()
		var expiry time.Time
		for _, z := range expiries {
			if z.Member == x.lease.ID() {
				expiry = time.UnixMilli(int64(z.Score))
			}
		}
		// A renewal may have come between reading the expiry and the fault.
		if atLeast := end.Add(realTTL / 20); expiry.Before(atLeast) {
			expiry = atLeast
		}
		if without := starved.between(end, at); !at.Add(-without).Before(expiry) {
			t.Errorf("told %v after the permit's expiry in Redis, and the machine was busy for %v", at.Sub(expiry), without)
		}
		if !errors.Is(x.lease.Err(), lease.ErrLost) {
			t.Errorf("Err = %v", x.lease.Err())
		}
		late = append(late, at.Sub(end))
	}
	return late
}

// Somebody takes the permission to renew away from a process, which renews both of its leases in one call.
func TestPromise2TheHolderMayNotRenewAnyMore(t *testing.T) {
	inBubble(t, func(w *world) {
		m, host := w.process("holder")
		l := w.acquire(w.semaphore(m, 1))
		other := w.acquire(w.semaphore(m, 1, func(c *lease.Config) { c.Name = "other" }))
		time.Sleep(worldTTL / 2) // the first renewal of each goes alone
		host.Deny("ZADD")
		next, _ := w.process("next")
		w.acquire(w.semaphore(next, 1))
		if l.Valid() {
			t.Errorf("somebody else has the permit, and its holder trusts it for another %v", time.Until(l.TrustedUntil()))
		}
		for _, l := range []*lease.Lease{l, other} {
			if err := l.Err(); !errors.Is(err, lease.ErrLost) || !strings.Contains(err.Error(), "NOPERM") {
				t.Errorf("Err = %v", err)
			}
		}
	})
}
