package lease_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// Part of TestTimesOnRealServers.
func testOneStalledNode(t *testing.T) {
	cluster := redistest.StartCluster(t)
	m, err := lease.Open("redis://"+cluster.Addrs()[0]+"?cluster=true", lease.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ctx := context.Background()
	if err := m.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	client := cluster.Client(t)
	stalled := cluster.Nodes()[1]
	var there, elsewhere []*lease.Lease
	for i := range 30 {
		name := fmt.Sprintf("shard-%d", i)
		s, err := m.Semaphore(lease.Config{Name: name, Capacity: 1, TTL: realTTL})
		if err != nil {
			t.Fatal(err)
		}
		l := realAcquire(t, s)
		node, err := client.MasterForKey(ctx, "passbuddy-"+name)
		if err != nil {
			t.Fatal(err)
		}
		if node.Options().Addr == stalled.Addr() {
			there = append(there, l)
		} else {
			elsewhere = append(elsewhere, l)
		}
	}
	if len(there) == 0 || len(elsewhere) < 10 {
		t.Fatalf("%d names on the node, %d elsewhere: choose other names", len(there), len(elsewhere))
	}
	stalled.Pause()
	for _, l := range there {
		<-l.Context().Done()
		if !errors.Is(l.Err(), lease.ErrLost) || time.Now().After(l.TrustedUntil().Add(realTTL/20)) {
			t.Errorf("told at %v, trusted until %v: %v", time.Now(), l.TrustedUntil(), l.Err())
		}
	}
	time.Sleep(realTTL)
	for _, l := range elsewhere {
		if err := l.Err(); err != nil {
			t.Errorf("a lease on another node was lost: %v", err)
		}
	}
	stalled.Resume()
	for _, l := range elsewhere {
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	}
}

// While a slot moves, a node refuses what names keys that it does not have: most of a semaphore's keys need not exist.
func TestClusterSlotThatMovesForLongerThanATTLCostsNoLease(t *testing.T) {
	inRealTime(t)
	cluster := redistest.StartCluster(t)
	m, err := lease.Open("redis://"+cluster.Addrs()[0]+"?cluster=true", lease.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	ctx := context.Background()
	const ttl = time.Second
	s, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 2, TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	kept, released := realAcquire(t, s), realAcquire(t, s)

	client := cluster.Client(t)
	slot := client.ClusterKeySlot(ctx, "passbuddy-gpu").Val()
	node, err := client.MasterForKey(ctx, "passbuddy-gpu")
	if err != nil {
		t.Fatal(err)
	}
	set := func(on *redistest.Server, args ...any) {
		t.Helper()
		if err := on.Client(t).Do(ctx, append([]any{"cluster", "setslot", slot}, args...)...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	nameOf := func(of *redistest.Server) string { return of.Client(t).Do(ctx, "cluster", "myid").Val().(string) }
	var source, target *redistest.Server
	for _, n := range cluster.Nodes() {
		if n.Addr() == node.Options().Addr {
			source = n
		} else {
			target = n
		}
	}
	set(target, "importing", nameOf(source))
	set(source, "migrating", nameOf(target))

	select {
	case <-kept.Context().Done():
		t.Fatalf("lost to a slot that moves: %v", kept.Err())
	case <-time.After(3 * ttl):
	}
	if err := released.Release(); err != nil {
		t.Errorf("a release that nobody waits for: %v", err)
	}
	if n := client.ZCard(ctx, "passbuddy-gpu").Val(); n != 1 {
		t.Errorf("%d permits, want the one that is held", n)
	}
	set(source, "stable")
	set(target, "stable")
	realAcquire(t, s).Release()
	if err := kept.Release(); err != nil {
		t.Error(err)
	}
}

func TestSentinelLeasesGoOnAfterAFailover(t *testing.T) {
	inRealTime(t)
	set := redistest.StartSentinel(t)
	m, err := lease.Open(fmt.Sprintf("redis://%s?master_name=%s&addr=%s", set.Addrs()[0], set.MasterName, set.Addrs()[1]), lease.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 1, TTL: 15 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	l := realAcquire(t, s)
	ctx := context.Background()
	set.AwaitReplication()
	start := time.Now()
	master := set.AwaitNewMaster(set.FailOver())
	t.Logf("failover took %v", time.Since(start))
	waiting := make(chan error, 1)
	go func() {
		next, err := s.Acquire(ctx)
		if err == nil {
			err = next.Release()
		}
		waiting <- err
	}()
	trusted := l.TrustedUntil()
	redistest.Eventually(t, "the lease is renewed on the new master", func(context.Context) error {
		if l.Valid() && l.TrustedUntil() == trusted {
			return errors.New("not yet")
		}
		return nil
	})
	if err := l.Err(); err != nil {
		t.Errorf("lost to a short failover: %v", err)
	}
	if n := master.Client(t).ZCard(ctx, "passbuddy-gpu").Val(); n != 1 {
		t.Errorf("%d permits on the new master", n)
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
	if err := <-waiting; err != nil {
		t.Errorf("the waiter got %v", err)
	}
}

// A slot moves from node to node and back, key by key, while callers come and go and one holds on. Nothing fails.
func TestClusterASlotThatMovesKeyByKeyFailsNoAcquire(t *testing.T) {
	inRealTime(t)
	cluster := redistest.StartCluster(t)
	open := func() *lease.Manager {
		m, err := lease.Open("redis://"+cluster.Addrs()[0]+"?cluster=true", lease.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = m.Close() })
		return m
	}
	cfg := lease.Config{Capacity: 3, TTL: 3 * time.Second, RetryInterval: 100 * time.Millisecond}
	a, b := gpu(t, open(), cfg), gpu(t, open(), cfg)
	held := realAcquire(t, a)
	c := gather(t, 5, a, b)
	c.mustGoOn(1)

	ctx, client := context.Background(), cluster.Client(t)
	slot := client.ClusterKeySlot(ctx, "passbuddy-gpu").Val()
	node, err := client.MasterForKey(ctx, "passbuddy-gpu")
	if err != nil {
		t.Fatal(err)
	}
	source, target := cluster.Nodes()[0], cluster.Nodes()[1]
	for _, n := range cluster.Nodes() {
		if n.Addr() == node.Options().Addr {
			source = n
		}
	}
	if target == source {
		target = cluster.Nodes()[2]
	}
	for range 4 {
		moveSlot(t, cluster, int(slot), source, target)
		c.mustGoOn(2)
		source, target = target, source
	}
	c.goHome()
	if c.most.Load() > 2 || c.lost.Load() > 0 || !held.Valid() {
		t.Errorf("%d at a time beside the one that is held, %d lost; held: %v", c.most.Load(), c.lost.Load(), held.Err())
	}
	if err := held.Release(); err != nil {
		t.Error(err)
	}
}

// moveSlot moves a slot as redis-cli does, with a pause after each key.
func moveSlot(t *testing.T, cluster *redistest.Cluster, slot int, source, target *redistest.Server) {
	t.Helper()
	ctx := context.Background()
	do := func(on *redistest.Server, args ...any) any {
		t.Helper()
		v, err := on.Client(t).Do(ctx, args...).Result()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return v
	}
	from, to := do(source, "cluster", "myid"), do(target, "cluster", "myid")
	do(target, "cluster", "setslot", slot, "importing", from)
	do(source, "cluster", "setslot", slot, "migrating", to)
	host, port, _ := strings.Cut(target.Addr(), ":")
	for {
		keys := do(source, "cluster", "getkeysinslot", slot, 1).([]any)
		if len(keys) == 0 {
			break
		}
		do(source, "migrate", host, port, keys[0], 0, 5000, "replace") // NOKEY: it is gone meanwhile
		time.Sleep(20 * time.Millisecond)
	}
	for _, n := range append([]*redistest.Server{target, source}, cluster.Nodes()...) {
		do(n, "cluster", "setslot", slot, "node", to)
	}
}
