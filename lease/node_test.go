package lease_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// A node speaks the transport protocol of PassBuddy for Node: a sorted set <prefix>-<name>, member = uuid,
// score = expiry in ms by its own clock. Its acquire is one EVAL whose text holds all values; it drops
// members that expired one TTL ago, adds its own, and takes that out again when there are too many. Its
// release is a ZREM. It renews nothing, and notifies nobody.
type node struct {
	client   *redis.Client
	key      string
	uuid     string
	capacity int
	ttl      time.Duration
	attempts int
	interval time.Duration
	skew     time.Duration // of its clock
}

func newNode(client *redis.Client, capacity int, skew time.Duration) *node {
	d := lease.NodeConfig()
	return &node{
		client: client, key: "passbuddy-gpu", uuid: uuid.NewString(), capacity: capacity, skew: skew,
		ttl: d.TTL, attempts: d.MaxAttempts, interval: d.RetryInterval,
	}
}

func (n *node) now() int64 { return time.Now().Add(n.skew).UnixMilli() }

// acquire returns the expiry that it wrote, or an error when the semaphore stays full.
func (n *node) acquire(ctx context.Context) (expiry int64, err error) {
	for range n.attempts {
		now := n.now()
		expiry = now + n.ttl.Milliseconds()
		text := fmt.Sprintf(`
			redis.call('ZREMRANGEBYSCORE', '%[1]s', '-inf', %[2]d)
			redis.call('ZADD', '%[1]s', %[3]d, '%[4]s')
			if redis.call('ZCARD', '%[1]s') > %[5]d then
				redis.call('ZREM', '%[1]s', '%[4]s')
				return 0
			end
			return 1`, n.key, now-n.ttl.Milliseconds(), expiry, n.uuid, n.capacity)
		in, err := n.client.Eval(ctx, text, nil).Int()
		if err != nil {
			return 0, err
		}
		if in == 1 {
			return expiry, nil
		}
		time.Sleep(n.interval)
	}
	return 0, errNodeFull
}

var errNodeFull = errors.New("node: at capacity")

func (n *node) release(ctx context.Context) error { return n.client.ZRem(ctx, n.key, n.uuid).Err() }

// score returns what stands in Redis for it; 0: nothing.
func (n *node) score(ctx context.Context) int64 {
	score, err := n.client.ZScore(ctx, n.key, n.uuid).Result()
	if err != nil {
		return 0
	}
	return int64(score)
}

// skews are the clocks of a fleet of Node processes, with the server's in the middle.
var skews = []time.Duration{-time.Second, -300 * time.Millisecond, 0, time.Second}

// A mixedFleet is managers of ours and Node processes on one key.
type mixedFleet struct {
	t          testing.TB
	capacity   int
	semaphores []*lease.Semaphore
	nodes      []*node
	rounds     int           // of each caller of ours
	hold       time.Duration // up to
	pause      time.Duration // of a Node process, up to

	live, most         atomic.Int64
	ours, theirs, full atomic.Int64
	longest            atomic.Int64 // wait of ours

	nodeWorked chan struct{} // closed when a Node process has
	once       sync.Once
}

func (f *mixedFleet) enter() {
	n := f.live.Add(1)
	for m := f.most.Load(); n > m && !f.most.CompareAndSwap(m, n); m = f.most.Load() {
	}
}

// run lets everybody work until ours have done their rounds.
func (f *mixedFleet) run() {
	ctx, end := context.WithCancel(context.Background())
	f.nodeWorked = make(chan struct{})
	var ours, theirs sync.WaitGroup
	for _, s := range f.semaphores {
		for range 3 {
			ours.Go(func() { f.work(s) })
		}
	}
	for _, n := range f.nodes {
		theirs.Go(func() {
			for ctx.Err() == nil {
				f.workNode(n)
			}
		})
	}
	ours.Wait()
	<-f.nodeWorked // while some of ours wait, what ours give back is theirs: Node may have to wait until now
	end()
	theirs.Wait()
	f.t.Logf("ours worked %d times and waited %v at most; Node worked %d times and found it full %d times; %d at a time",
		f.ours.Load(), time.Duration(f.longest.Load()), f.theirs.Load(), f.full.Load(), f.most.Load())
	if n := f.most.Load(); n != int64(f.capacity) {
		f.t.Errorf("%d at a time, want %d", n, f.capacity)
	}
	if n := f.nodes[0].client.ZCard(context.Background(), "passbuddy-gpu").Val(); n != 0 {
		f.t.Errorf("%d permits are left", n)
	}
}

func (f *mixedFleet) work(s *lease.Semaphore) {
	for range f.rounds {
		asked := time.Now()
		l, err := s.Acquire(context.Background())
		if err != nil {
			f.t.Error(err)
			return
		}
		if d := int64(time.Since(asked)); d > f.longest.Load() {
			f.longest.Store(d)
		}
		f.enter()
		f.ours.Add(1)
		time.Sleep(rand.N(f.hold))
		if !l.Valid() {
			f.t.Errorf("Node took a permit of ours: %v", l.Err())
		}
		f.live.Add(-1)
		if err := l.Release(); err != nil {
			f.t.Error(err)
		}
	}
}

func (f *mixedFleet) workNode(n *node) {
	ctx := context.Background()
	expiry, err := n.acquire(ctx)
	if errors.Is(err, errNodeFull) {
		f.full.Add(1)
		return
	}
	if err != nil {
		f.t.Error(err)
		return
	}
	f.enter()
	f.theirs.Add(1)
	f.once.Do(func() { close(f.nodeWorked) })
	time.Sleep(rand.N(f.hold))
	if got := n.score(ctx); got != expiry {
		f.t.Errorf("a Node permit with expiry %d stands in Redis with %d", expiry, got)
	}
	f.live.Add(-1)
	if err := n.release(ctx); err != nil {
		f.t.Error(err)
	}
	time.Sleep(rand.N(f.pause))
}

// Our leases and Node's permits together stay within the capacity; neither side touches the other's permits; and our
// waiters get their turn though nothing notifies them.
func TestAMixedFleetWithNode(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: time.Millisecond})
		f := &mixedFleet{t: w, capacity: 3, rounds: 15, hold: 3 * time.Second, pause: time.Second}
		for i, skew := range skews {
			m, _ := w.process(fmt.Sprintf("go%d", i))
			f.semaphores = append(f.semaphores, w.semaphore(m, f.capacity, func(c *lease.Config) { c.TTL = lease.NodeConfig().TTL }))
			client := redis.NewClient(w.net.Host(fmt.Sprintf("node%d", i)).Options())
			defer client.Close()
			f.nodes = append(f.nodes, newNode(client, f.capacity, skew))
		}
		w.net.OnCommand(func(_ string, _ time.Time, cmd []string) {
			if n := len(membersOf(w.net.Server())); n > f.capacity {
				w.Errorf("%d permits in Redis after %.60q", n, cmd)
			}
		})
		f.run()
		if d := time.Duration(f.longest.Load()); d > 2*time.Minute {
			w.Errorf("one of ours waited %v", d)
		}
	})
}

func TestRealRedisWithAMixedFleet(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	f := &mixedFleet{t: t, capacity: 3, rounds: 8, hold: 150 * time.Millisecond, pause: 100 * time.Millisecond}
	for _, skew := range skews {
		f.semaphores = append(f.semaphores, realSemaphore(t, opened(t, "open", server.Addr()), f.capacity))
		f.nodes = append(f.nodes, newNode(server.Client(t), f.capacity, skew))
	}
	f.run()
}

// Ours outlive every TTL beside Node's purges, whatever Node's clock says.
func TestNodeExpiresNoPermitOfOurs(t *testing.T) {
	for _, skew := range skews {
		t.Run(skew.String(), func(t *testing.T) {
			inBubble(t, func(w *world) {
				m, _ := w.process("go")
				l := w.acquire(w.semaphore(m, 1, func(c *lease.Config) { c.TTL = lease.NodeConfig().TTL }))
				client := redis.NewClient(w.net.Host("node").Options())
				defer client.Close()
				n := newNode(client, 1, skew)
				for range 20 {
					if _, err := n.acquire(context.Background()); !errors.Is(err, errNodeFull) {
						w.Fatalf("Node got a permit that is held: %v", err)
					}
				}
				w.mustHold(l)
				if err := l.Release(); err != nil {
					w.Error(err)
				}
				if _, err := n.acquire(context.Background()); err != nil {
					w.Error(err)
				}
			})
		})
	}
}

// Node adds one TTL and drops one TTL later: among its own, a permit whose holder died lasts two. Ours
// take it when its time is up by the server's clock, which a skew of Node's moves by as much.
func TestATTLOfNodeIsHonouredOnce(t *testing.T) {
	for _, skew := range skews {
		t.Run(skew.String(), func(t *testing.T) {
			inBubble(t, func(w *world) {
				m, _ := w.process("go")
				client := redis.NewClient(w.net.Host("node").Options())
				defer client.Close()
				n := newNode(client, 1, skew)
				start := time.Now()
				if _, err := n.acquire(context.Background()); err != nil { // and dies
					w.Fatal(err)
				}
				l := w.acquire(w.semaphore(m, 1))
				if d, want := time.Since(start), n.ttl+skew; d < want || d > want+50*time.Millisecond {
					w.Errorf("taken over after %v, want %v", d, want)
				}
				_ = l.Release()
			})
		})
	}
}
