package lease_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// The life of the queue on each kind of Redis: the same story everywhere.

func TestQueueOnEveryKindOfRedis(t *testing.T) {
	inRealTime(t)
	for kind, start := range deployments {
		if kind == "Cluster" && !thorough() {
			continue // the other Cluster permits less
		}
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := start(t)
			t.Cleanup(p.close)
			for what, story := range map[string]func(*testing.T, *deployment, string){
				"first come, first served":        testOrder,
				"a heavy request is not starved":  testWeights,
				"the dead are passed over":        testDeath,
				"a long queue of the dead":        testLongQueue,
				"an operator resizes and revokes": testOperator,
			} {
				t.Run(what, func(t *testing.T) {
					for _, name := range p.names {
						t.Run(name, func(t *testing.T) {
							t.Parallel()
							story(t, p, name)
							holders, queue := p.keys(name)
							for _, key := range []string{holders, queue} {
								redistest.Eventually(t, "nothing is left over", func(context.Context) error { return gone(p.admin, key) })
							}
						})
					}
				})
			}
			for i, node := range p.nodes {
				t.Logf("node %d: %d scripts, %d notifications", i, calls(t, node, "evalsha"), calls(t, node, "publish"))
				if calls(t, node, "publish") == 0 {
					t.Errorf("no notification came from node %d", i)
				}
			}
			for i, node := range p.nodes {
				if n := statOf(t, node, "command", "rejected_calls"); n > 0 {
					t.Errorf("node %d was asked for the table of all commands %d times", i, n)
				}
			}
			if kind == "single server" {
				// What docs/operations.md lists is needed. PING is sent over a subscription that hears nothing for
				// some seconds.
				for _, rule := range documentedRules(t) {
					command, is := strings.CutPrefix(rule, "+")
					if is && command != "ping" && command != "client" && calls(t, p.nodes[0], command) == 0 {
						t.Errorf("docs/operations.md lists %s, which was never needed", command)
					}
				}
			}
		})
	}
}

func testOrder(t *testing.T, p *deployment, name string) {
	holders, queue := p.keys(name)
	cfg := lease.Config{Name: name, Capacity: 1, Handover: -1}
	holder := realAcquire(t, p.use(t, 0, cfg))
	const processes, quitter = 5, 4
	var from []*lease.Semaphore
	for i := range processes {
		s := p.use(t, 1+i, cfg)
		from = append(from, s, s) // what it may have in the shared queue
	}
	rand.Shuffle(len(from), func(i, j int) { from[i], from[j] = from[j], from[i] })
	var (
		mu     sync.Mutex
		order  []int
		tokens []int64
		all    sync.WaitGroup
	)
	ctx, quit := context.WithCancel(t.Context())
	for i, s := range from {
		ctx := ctx
		if i != quitter {
			ctx = t.Context()
		}
		all.Go(func() {
			l, err := s.Acquire(ctx)
			if i == quitter {
				if !errors.Is(err, context.Canceled) {
					t.Errorf("the one that left got %v", err)
				}
				return
			}
			if err != nil {
				t.Errorf("waiter %d: %v", i, err)
				return
			}
			mu.Lock()
			order, tokens = append(order, i), append(tokens, l.Token())
			mu.Unlock()
			if err := l.Release(); err != nil {
				t.Errorf("waiter %d: %v", i, err)
			}
		})
		mustQueue(t, p.admin, queue, int64(i+1))
	}
	quit()
	mustQueue(t, p.admin, queue, int64(len(from)-1))
	if n := p.admin.ZCard(t.Context(), holders).Val(); n != 1 {
		t.Errorf("%d hold it", n)
	}
	start := time.Now()
	if err := holder.Release(); err != nil {
		t.Error(err)
	}
	all.Wait()
	t.Logf("%s: %d served one after the other in %v", name, len(order), time.Since(start))
	if !slices.IsSorted(order) || len(order) != len(from)-1 {
		t.Errorf("%s: served in the order %v", name, order)
	}
	if !slices.IsSorted(tokens) {
		t.Errorf("%s: tokens %v", name, tokens)
	}
}

func testWeights(t *testing.T, p *deployment, name string) {
	_, queue := p.keys(name)
	cfg := lease.Config{Name: name, Capacity: 3, Handover: -1}
	a, b, c := p.use(t, 0, cfg), p.use(t, 1, cfg), p.use(t, 2, cfg)
	first, second := realAcquire(t, a), realAcquire(t, b)
	heavy := asking(t, b, lease.Weight(3))
	mustQueue(t, p.admin, queue, 1)
	light := asking(t, c)
	mustQueue(t, p.admin, queue, 2)
	// There is room for the light one, and it does not overtake.
	if _, err := a.TryAcquire(t.Context()); !errors.Is(err, lease.ErrAtCapacity) {
		t.Errorf("TryAcquire overtook: %v", err)
	}
	if err := first.Release(); err != nil {
		t.Error(err)
	}
	mustStillWait(t, "the heavy one", heavy)
	mustStillWait(t, "the light one", light)
	if err := second.Release(); err != nil {
		t.Error(err)
	}
	h := mustBeServed(t, "the heavy one", heavy).lease
	mustStillWait(t, "the light one", light)
	if err := h.Release(); err != nil {
		t.Error(err)
	}
	l := mustBeServed(t, "the light one", light).lease
	if l.Token() <= h.Token() {
		t.Errorf("token %d after %d", l.Token(), h.Token())
	}
	if err := l.Release(); err != nil {
		t.Error(err)
	}
}

// A manager that is closed gives nothing back, as if its process had died.
func testDeath(t *testing.T, p *deployment, name string) {
	_, queue := p.keys(name)
	cfg := lease.Config{Name: name, Capacity: 1, TTL: realTTL}
	var managers []*lease.Manager
	semaphore := func() *lease.Semaphore {
		m, _ := openWith(t, p.url)
		managers = append(managers, m)
		s, err := m.Semaphore(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	holder := realAcquire(t, semaphore())
	ahead := asking(t, semaphore())
	mustQueue(t, p.admin, queue, 1)
	behind := asking(t, semaphore())
	mustQueue(t, p.admin, queue, 2)
	expiry := time.Now().Add(realTTL + 100*time.Millisecond) // of the holder's permit, at the latest
	for _, m := range managers[:2] {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}
	if g := <-ahead; !errors.Is(g.err, lease.ErrClosed) {
		t.Errorf("the waiter of the closed manager got %v", g.err)
	}
	if !errors.Is(holder.Err(), lease.ErrClosed) {
		t.Errorf("the holder of the closed manager got %v", holder.Err())
	}
	g := mustBeServed(t, "the one behind the dead", behind)
	t.Logf("%s: served %v after the latest expiry of what the dead had", name, g.at.Sub(expiry))
	if err := g.lease.Release(); err != nil {
		t.Error(err)
	}
}

// Those whose processes died long ago stand in the queue in their hundreds, before and behind the living.
func testLongQueue(t *testing.T, p *deployment, name string) {
	_, queue := p.keys(name)
	cfg := lease.Config{Name: name, Capacity: 1, TTL: realTTL}
	a, b := p.use(t, 0, cfg), p.use(t, 1, cfg)
	holder := realAcquire(t, a)
	var dead []redis.Z
	for i := range 600 {
		arrival := time.Now().Add(time.Duration(i-300) * time.Second).UnixMicro()
		dead = append(dead, redis.Z{Member: fmt.Sprintf("%036d@dead~%d", i, i%7), Score: float64(arrival)})
	}
	if err := p.admin.ZAdd(t.Context(), queue, dead...).Err(); err != nil {
		t.Fatal(err)
	}
	waiting := asking(t, b)
	redistest.Eventually(t, "the waiter stands among the dead", func(ctx context.Context) error {
		state, err := a.Inspect(ctx)
		if err == nil && !slices.ContainsFunc(state.Waiters, func(w lease.Waiter) bool { return time.Now().Before(w.AliveUntil) }) {
			err = fmt.Errorf("%d waiters", len(state.Waiters))
		}
		return err
	})
	if err := holder.Release(); err != nil {
		t.Error(err)
	}
	if err := mustBeServed(t, "the living one", waiting).lease.Release(); err != nil {
		t.Error(err)
	}
	// The dead behind it go when there is somebody to give a permit to, or with the queue's lifetime.
	p.admin.Del(t.Context(), queue)
}

func testOperator(t *testing.T, p *deployment, name string) {
	_, queue := p.keys(name)
	cfg := lease.Config{Name: name, Capacity: 2}
	a, operator := p.use(t, 0, cfg), p.use(t, 1, cfg)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	ctx := t.Context()
	first, second := realAcquire(t, a), realAcquire(t, a)
	third := asking(t, a)
	mustQueue(t, p.admin, queue, 1)
	must(operator.Resize(ctx, 3))
	l := mustBeServed(t, "who waits for a larger capacity", third).lease
	must(operator.Pause(ctx))
	must(l.Release())
	fourth := asking(t, a)
	mustQueue(t, p.admin, queue, 1)
	state, err := operator.Inspect(ctx)
	must(err)
	if err == nil && (state.Capacity != 0 || !state.Resized || state.Held != 2 || len(state.Holders) != 2 || len(state.Waiters) != 1) {
		t.Errorf("%s: %+v", name, state)
	}
	mustSummarize(t, p.process(t, 1), state)
	must(operator.Revoke(ctx, first.ID()))
	<-first.Context().Done()
	var lost *lease.LostError
	if !errors.As(first.Err(), &lost) || lost.Reason != lease.LossRevoked {
		t.Errorf("%s: the holder got %v", name, first.Err())
	}
	must(operator.ResetCapacity(ctx))
	mustStillWait(t, "the fourth", fourth) // the revoked permit counts until its holder gives it back
	if err := first.Release(); !errors.Is(err, lease.ErrLost) {
		t.Errorf("Release of the revoked lease returned %v", err)
	}
	must(mustBeServed(t, "the fourth", fourth).lease.Release())
	must(second.Release())
}
