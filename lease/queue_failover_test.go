package lease_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// The master dies while ten wait: they keep waiting, in their order, and are served by the new one. It must have the
// queue for that; TestPromise8LostPlaceCountsAgainFromThePollThatBringsIt says what is so where it has not.
func TestSentinelWaitersAreServedAfterAFailover(t *testing.T) {
	inRealTime(t)
	set := redistest.StartSentinel(t)
	cfg := lease.Config{Name: "gpu", Capacity: 1, Handover: -1}
	p := &deployment{url: sentinelURL(set), admin: set.Client(t)}
	t.Cleanup(p.close)
	holder := realAcquire(t, p.use(t, 0, cfg))
	var mu sync.Mutex
	var order []int
	var all sync.WaitGroup
	for i := range 10 {
		s := p.use(t, 1+i%5, cfg)
		all.Go(func() {
			l, err := s.Acquire(t.Context())
			if err != nil {
				t.Errorf("waiter %d: %v", i, err)
				return
			}
			mu.Lock()
			order = append(order, i)
			mu.Unlock()
			if err := l.Release(); err != nil {
				t.Errorf("waiter %d: %v", i, err)
			}
		})
		mustQueue(t, p.admin, queueKey, int64(i+1))
	}
	queued := func(on *redistest.Server) []string {
		return on.Client(t).ZRange(t.Context(), queueKey, 0, -1).Val()
	}
	master := set.Master()
	before := queued(master)
	set.AwaitReplication()
	start := time.Now()
	next := set.AwaitNewMaster(set.FailOver())
	if after := queued(next); next == master || !slices.Equal(after, before) {
		t.Fatalf("the new master %s has the queue\n%v, the old one %s had\n%v", next.Addr(), after, master.Addr(), before)
	}
	if !slices.Contains(next.Client(t).ZRange(t.Context(), "passbuddy-gpu", 0, -1).Val(), holder.ID()) {
		t.Fatal("the new master does not have the permit that is held")
	}
	t.Logf("the failover took %v", time.Since(start))
	if err := holder.Err(); err != nil {
		t.Fatalf("lost to a short failover: %v", err)
	}
	// The new master has the queue, and each waiter polls there: only then is it fair to ask for order.
	redistest.Eventually(t, "all processes have found the new master", func(ctx context.Context) error {
		if n, err := next.Client(t).PubSubNumSub(ctx, inboxes(t, next.Client(t))...).Result(); err != nil || len(n) < 5 {
			return fmt.Errorf("%d subscribe, %v", len(n), err)
		}
		return nil
	})
	start = time.Now()
	if err := holder.Release(); err != nil {
		t.Error(err)
	}
	all.Wait()
	t.Logf("ten were served in %v", time.Since(start))
	for i, n := range order {
		if i != n {
			t.Errorf("served in the order %v", order)
			break
		}
	}
	redistest.Eventually(t, "nothing is left over", func(context.Context) error { return gone(next.Client(t), "passbuddy-gpu") })
}

// The same without a pause: callers come and go all the time, and the master dies among them. Acknowledged
// writes may be lost, so capacity is not judged; nobody may hang.
func TestSentinelNobodyHangsWhenTheMasterDiesUnderLoad(t *testing.T) {
	inRealTime(t)
	set := redistest.StartSentinel(t)
	judge := newJudge(t)
	fleet := startFleet(t, 3, judge, sentinelURL(set), lease.Config{Name: "gpu", Capacity: 2, TTL: 6 * time.Second})
	var working []<-chan report
	for _, p := range fleet {
		working = append(working, p.send(order{Do: "work", Callers: 8, Section: time.Millisecond, Patient: true}))
	}
	redistest.Eventually(t, "they work", func(context.Context) error { return judge.mustHaveServed(200) })
	set.AwaitNewMaster(set.FailOver())
	served := judge.served()
	redistest.Eventually(t, "they work again", func(context.Context) error { return judge.mustHaveServed(served + 200) })
	for i, p := range fleet {
		p.must(order{Do: "work", Callers: 8, Each: 3, Patient: true})
		p.must(order{Do: "stop"})
		a := p.await(working[i])
		if a.Err != "" {
			t.Errorf("process %d: %s", i, a.Err)
		}
		t.Logf("process %d: %d leases lost", i, a.Lost)
	}
}

// One node stands still: on the others, leases live on and pass from process to process; on it, waiters keep
// their places and are served when it goes on.
func TestClusterAStalledNodeLeavesTheQueuesOfTheOthersAlone(t *testing.T) {
	inRealTime(t)
	starved := watchStarvation(t)
	cluster := redistest.StartCluster(t)
	p := clusterDeployment(t, cluster)
	p.url = "redis://" + cluster.Addrs()[0] + "?cluster=true"
	t.Cleanup(p.close)
	stalled := cluster.Nodes()[1]
	client := cluster.Client(t)
	type semaphore struct {
		name    string
		there   bool // on the node that stalls
		holder  *lease.Lease
		waiting <-chan got
		passed  atomic.Int64
	}
	var all []*semaphore
	cfg := lease.Config{Capacity: 1, TTL: 4 * time.Second, Handover: -1}
	for _, name := range p.names {
		node, err := client.MasterForKey(t.Context(), "passbuddy-"+name)
		if err != nil {
			t.Fatal(err)
		}
		s := &semaphore{name: name, there: node.Options().Addr == stalled.Addr()}
		cfg.Name = name
		_, queue := p.keys(name)
		s.holder = realAcquire(t, p.use(t, 0, cfg))
		s.waiting = asking(t, p.use(t, 1, cfg))
		mustQueue(t, client, queue, 1)
		all = append(all, s)
	}
	stalled.Pause()
	paused := time.Now()
	ctx, stop := context.WithCancel(t.Context())
	var callers sync.WaitGroup
	for _, s := range all {
		if s.there {
			continue
		}
		if err := s.holder.Release(); err != nil {
			t.Error(err)
		}
		l := mustBeServed(t, s.name, s.waiting).lease
		cfg.Name = s.name
		for i := range 3 {
			h := p.use(t, i, cfg)
			callers.Go(func() {
				for ctx.Err() == nil {
					l, err := h.Acquire(t.Context())
					if err != nil {
						t.Errorf("%s: %v", s.name, err)
						return
					}
					time.Sleep(time.Millisecond)
					if err := l.Release(); err != nil {
						t.Errorf("%s: %v", s.name, err)
						return
					}
					s.passed.Add(1)
				}
			})
		}
		// This one is held throughout.
		if err := l.Err(); err != nil {
			t.Errorf("%s: %v", s.name, err)
		}
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	}
	for _, s := range all {
		if s.there {
			<-s.holder.Context().Done() // told in time, while Redis says nothing
			end, told := s.holder.TrustedUntil(), time.Now()
			if late, without := told.Sub(end), starved.between(end, told); late-without > cfg.TTL/20 {
				t.Errorf("%s: told %v after the end of its window, and the machine was busy for %v", s.name, late, without)
			}
			mustStillWait(t, s.name, s.waiting)
		}
	}
	t.Logf("the node has stood still for %v", time.Since(paused))
	stop()
	callers.Wait()
	for _, s := range all {
		// A process whose subscription is on that node learns of its grants by polling, and the others wait for it.
		if !s.there && s.passed.Load() < 6 {
			t.Errorf("%s: %d leases while another node stood still", s.name, s.passed.Load())
		}
		t.Logf("%s: there %v, passed on %d times", s.name, s.there, s.passed.Load())
	}
	stalled.Resume()
	for _, s := range all {
		if s.there {
			if err := mustBeServed(t, s.name, s.waiting).lease.Release(); err != nil {
				t.Error(err)
			}
			_ = s.holder.Release()
		}
	}
}
