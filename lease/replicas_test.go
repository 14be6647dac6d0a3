package lease_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// What replicas acknowledge: Config.MinReplicas.

func replicated(n int) func(*lease.Config) { return func(c *lease.Config) { c.MinReplicas = n } }

func (w *world) mustLackReplicas(who string, err error, acknowledged, connected int) {
	w.Helper()
	var missing *lease.ReplicaError
	if !errors.As(err, &missing) || missing.Acknowledged != acknowledged || missing.Connected != connected {
		w.Errorf("%s: %v; want a ReplicaError, %d acknowledged of %d", who, err, acknowledged, connected)
	}
}

func TestAGrantThatTooFewReplicasAcknowledgeGoesBack(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: time.Millisecond})
		m, _ := w.process("a")
		s := w.semaphore(m, 1, replicated(2))
		for _, acknowledged := range []int{0, 1} {
			w.net.SetReplicas(2, acknowledged)
			_, err := s.Acquire(context.Background())
			w.mustLackReplicas("an acquire", err, acknowledged, 2)
			_, err = s.TryAcquire(context.Background())
			w.mustLackReplicas("one attempt", err, acknowledged, 2)
			var trouble *lease.RedisError
			if !errors.As(err, &trouble) || !strings.Contains(err.Error(), fmt.Sprintf("%d of 2 replicas acknowledged the write within", acknowledged)) {
				w.Errorf("the error is %v", err)
			}
			time.Sleep(100 * time.Millisecond)
			w.mustBeFree("after it failed")
		}
		w.net.SetReplicas(1, 1)
		_, err := s.Acquire(context.Background())
		w.mustLackReplicas("an acquire with one replica", err, 1, 1)
		if err == nil || !strings.Contains(err.Error(), "the server has 1: have as many as MinReplicas, or set that to less") {
			w.Errorf("the error is %v", err)
		}
		w.net.SetReplicas(2, 2)
		w.release(w.acquire(s))
	})
}

func TestARenewalThatTooFewReplicasAcknowledgeMovesNoWindow(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.SetReplicas(1, 1)
		m, _ := w.process("a")
		s := w.semaphore(m, 1, replicated(1))
		l := w.acquire(s)
		time.Sleep(3 * worldTTL)
		w.mustHold(l)
		w.net.SetReplicas(1, 0)
		until := l.TrustedUntil()
		<-l.Context().Done()
		if now := time.Now(); now.After(until.Add(time.Millisecond)) || now.Before(until.Add(-worldTTL/3)) {
			w.Errorf("told at %v, the last acknowledged window ends at %v", now, until)
		}
		if !errors.Is(l.Err(), lease.ErrLost) {
			w.Errorf("the lease ended with %v", l.Err())
		}
		w.mustLackReplicas("a lost lease", l.Err(), 0, 1)
		_ = l.Release()

		w.net.SetReplicas(1, 1) // trouble that is shorter than a third of the TTL
		time.Sleep(worldTTL)
		l = w.acquire(s)
		for range 5 {
			time.Sleep(worldTTL / 3)
			w.net.SetReplicas(1, 0)
			time.Sleep(worldTTL / 3)
			w.net.SetReplicas(1, 1)
			time.Sleep(worldTTL / 3)
			w.mustHold(l)
		}
		w.release(l)
	})
}

// Its own process has to hear from the replicas, whoever gave the permit.
func TestAPromotionIsAcknowledgedBeforeItsWaiterHasIt(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: time.Millisecond})
		w.net.SetReplicas(1, 1)
		a, _ := w.process("a")
		b, _ := w.process("b")
		s, other := w.semaphore(a, 1, replicated(1)), w.semaphore(b, 1, replicated(1))
		for _, acknowledges := range []bool{true, false} {
			l := w.acquire(s)
			waits := asking(w, other)
			time.Sleep(50 * time.Millisecond)
			if !acknowledges {
				w.net.SetReplicas(1, 0)
			}
			start := time.Now()
			w.release(l)
			g := <-waits
			if took := g.at.Sub(start); took > 50*time.Millisecond {
				w.Errorf("it took %v", took)
			}
			if acknowledges {
				if g.err != nil {
					w.Fatal(g.err)
				}
				w.mustHold(g.lease)
				w.release(g.lease)
			} else {
				w.mustLackReplicas("who was promoted", g.err, 0, 1)
				time.Sleep(50 * time.Millisecond)
				w.mustBeFree("afterwards")
			}
		}
	})
}

func TestMinReplicasIsChecked(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("a")
		for _, n := range []int{-1, 101} {
			_, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 1, MinReplicas: n})
			var bad *lease.OptionError
			if !errors.As(err, &bad) || bad.Option != "Config.MinReplicas" {
				w.Errorf("MinReplicas %d: %v", n, err)
			}
		}
	})
}

// withReplica starts a server and a replica of it.
func withReplica(t testing.TB) (server, replica *redistest.Server) {
	t.Helper()
	server = redistest.Start(t, "--repl-diskless-sync-delay", "0")
	_, port, _ := net.SplitHostPort(server.Addr())
	replica = redistest.Start(t, "--replicaof", "127.0.0.1", port)
	replica.AwaitStream(server)
	return server, replica
}

func TestRealRedisReplicasAcknowledge(t *testing.T) {
	inRealTime(t)
	server, replica := withReplica(t)
	m, _ := openWith(t, "redis://"+server.Addr())
	const ttl = 2 * time.Second
	starved := watchStarvation(t)
	s := gpu(t, m, lease.Config{TTL: ttl, MinReplicas: 1, Capacity: 2})
	l := realAcquire(t, s)
	there, err := replica.Client(t).ZScore(t.Context(), "passbuddy-gpu", l.ID()).Result()
	if err != nil || there < float64(time.Now().UnixMilli()) {
		t.Errorf("the replica knows of %v (%v)", there, err)
	}
	replica.Pause()
	start := time.Now()
	_, err = s.Acquire(t.Context())
	var missing *lease.ReplicaError
	if !errors.As(err, &missing) || missing.Acknowledged != 0 || missing.Connected != 1 {
		t.Errorf("an acquire without its replica: %v", err)
	}
	if took := time.Since(start) - starved.between(start, time.Now()); took > ttl/2 {
		t.Errorf("it took %v", took)
	}
	<-l.Context().Done()
	end, told := l.TrustedUntil(), time.Now()
	if late, without := told.Sub(end), starved.between(end, told); late-without > ttl/20 || !errors.Is(l.Err(), lease.ErrLost) {
		t.Errorf("told %v after the window, and the machine was busy for %v: %v", late, without, l.Err())
	}
	if !errors.As(l.Err(), &missing) {
		t.Errorf("the lease was lost for %v", l.Err())
	}
	_ = l.Release()
	replica.Resume()
	if err := realAcquire(t, s).Release(); err != nil {
		t.Error(err)
	}
	two := gpu(t, m, lease.Config{TTL: ttl, MinReplicas: 2, Capacity: 2})
	if _, err := two.Acquire(t.Context()); !errors.As(err, &missing) || missing.Acknowledged != 1 || missing.Connected != 1 {
		t.Errorf("an acquire that wants two replicas: %v", err)
	}
}

func TestClusterReplicasAcknowledgeWhatIsOnTheirNode(t *testing.T) {
	inRealTime(t)
	cluster := redistest.StartCluster(t)
	var replicas []*redistest.Server
	for _, node := range cluster.Nodes()[:2] {
		replicas = append(replicas, cluster.AddReplica(t, node))
	}
	m, err := lease.Open("redis://"+cluster.Addrs()[0]+"?cluster=true", lease.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	client := cluster.Client(t)
	on := func(node *redistest.Server) *lease.Semaphore {
		for i := range 100 {
			name := fmt.Sprintf("shard-%d", i)
			if master, err := client.MasterForKey(t.Context(), "passbuddy-"+name); err != nil || master.Options().Addr != node.Addr() {
				continue
			}
			s, err := m.Semaphore(lease.Config{Name: name, Capacity: 1, TTL: 2 * time.Second, MinReplicas: 1})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		t.Fatalf("no name is on %s", node.Addr())
		return nil
	}
	there, elsewhere := on(cluster.Nodes()[0]), on(cluster.Nodes()[1])
	l, other := realAcquire(t, there), realAcquire(t, elsewhere)
	for i, name := range []string{there.Name(), elsewhere.Name()} {
		readOnly := replicas[i].Client(t).Conn()
		defer readOnly.Close()
		if err := readOnly.Do(t.Context(), "READONLY").Err(); err != nil {
			t.Fatal(err)
		}
		if n, err := readOnly.ZCard(t.Context(), "passbuddy-"+name).Result(); err != nil || n != 1 {
			t.Errorf("the replica knows of %d permits of %s (%v)", n, name, err)
		}
	}
	replicas[0].Pause()
	defer replicas[0].Resume()
	<-l.Context().Done()
	var missing *lease.ReplicaError
	if !errors.As(l.Err(), &missing) {
		t.Errorf("the lease whose replica is silent ended with %v", l.Err())
	}
	_ = l.Release()
	if _, err := there.Acquire(t.Context()); !errors.As(err, &missing) || missing.Acknowledged != 0 {
		t.Errorf("an acquire without its replica: %v", err)
	}
	if err := other.Err(); err != nil {
		t.Errorf("the lease on another node: %v", err)
	}
	if err := other.Release(); err != nil {
		t.Error(err)
	}
	if err := realAcquire(t, elsewhere).Release(); err != nil {
		t.Error(err)
	}
}

func TestRealRedisAUserThatMayNotWait(t *testing.T) {
	inRealTime(t)
	server, _ := withReplica(t)
	admin := server.Client(t)
	if err := admin.Do(t.Context(), "ACL", "SETUSER", "nowait", "on", ">pw", "~*", "&*", "+@all", "-wait").Err(); err != nil {
		t.Fatal(err)
	}
	m, _ := openWith(t, "redis://nowait:pw@"+server.Addr())
	s := gpu(t, m, lease.Config{MinReplicas: 1})
	start := time.Now()
	_, err := s.Acquire(t.Context())
	if err == nil || !strings.Contains(err.Error(), "NOPERM") || !strings.Contains(err.Error(), "wait") || time.Since(start) > 2*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	redistest.Eventually(t, "nothing is held", func(ctx context.Context) error { return gone(admin, "passbuddy-gpu") })
}

var failovers = flag.Int("failovers", 0, "how many failovers TestNoFailoverGivesAPermitTwice makes; 1 by default, 2 in CI")

// A pair is a master and its replica, which changes places with it.
type pair struct {
	url             string
	master, replica *redistest.Server
	takeOver        func(master, replica *redistest.Server) // returns when the replica is the master
}

var pairs = map[string]func(*testing.T) pair{
	"Sentinel": func(t *testing.T) pair {
		set := redistest.StartSentinel(t)
		return pair{sentinelURL(set), set.Master(), set.Replica(), func(master, _ *redistest.Server) { set.AwaitNewMaster(master) }}
	},
	"Cluster": func(t *testing.T) pair {
		cluster := redistest.StartCluster(t)
		owner, err := cluster.Client(t).MasterForKey(t.Context(), "passbuddy-gpu")
		if err != nil {
			t.Fatal(err)
		}
		nodes := cluster.Nodes()
		i := slices.IndexFunc(nodes, func(n *redistest.Server) bool { return n.Addr() == owner.Options().Addr })
		other := nodes[(i+1)%len(nodes)]
		return pair{
			"redis://" + other.Addr() + "?cluster=true", nodes[i], cluster.AddReplica(t, nodes[i]),
			func(_, replica *redistest.Server) { cluster.TakeOver(t, replica) },
		}
	},
}

// A replica that lags takes over. What it has not acknowledged, nobody may have trusted.
func TestNoFailoverGivesAPermitTwice(t *testing.T) {
	inRealTime(t)
	times := *failovers
	if times == 0 {
		if times = 1; thorough() {
			times = 2
		}
	}
	for kind, start := range pairs {
		for _, n := range []int{1, 0} {
			t.Run(fmt.Sprintf("%s, MinReplicas %d", kind, n), func(t *testing.T) {
				inRealTime(t)
				p := start(t)
				users := &users{}
				ctx, stop := context.WithCancel(t.Context())
				var all sync.WaitGroup
				for range 3 {
					m, err := lease.Open(p.url, lease.Options{Logger: quiet})
					if err != nil {
						t.Fatal(err)
					}
					defer m.Close()
					s := gpu(t, m, lease.Config{TTL: 8 * time.Second, MinReplicas: n})
					for range 3 {
						all.Go(func() { users.run(ctx, s) })
					}
				}
				mustGoOn := func(when string) {
					before := users.granted.Load()
					redistest.Eventually(t, "leases are given "+when, func(context.Context) error {
						if n := users.granted.Load() - before; n < 5 {
							return fmt.Errorf("%d are", n)
						}
						return nil
					})
				}
				for i := range times {
					mustGoOn(fmt.Sprintf("before failover %d", i+1))
					users.gate.Lock() // nothing is held
					p.replica.AwaitReplication(p.master)
					p.replica.StopFollowing(p.master)
					over := make(chan struct{})
					users.busy.Store(&over)
					users.gate.Unlock()
					time.Sleep(300 * time.Millisecond) // the replica has none of what happens now
					p.master.Kill()
					p.takeOver(p.master, p.replica)
					users.busy.Store(nil)
					close(over)
					p.replica.Follow()
					p.master.Restart()
					p.master, p.replica = p.replica, p.master
				}
				p.replica.AwaitReplication(p.master)
				mustGoOn("after the last")
				stop()
				all.Wait()
				t.Logf("%d failovers: %d leases, %d acquires refused, %d grants while another lease lived", times, users.granted.Load(), users.refused.Load(), users.twice.Load())
				if n > 0 && users.twice.Load() > 0 {
					t.Errorf("%d grants while another lease lived", users.twice.Load())
				}
			})
		}
	}
}

// users take the only permit, again and again, and count those grants that came while another lease lived.
type users struct {
	gate                    sync.RWMutex                  // who has it locked waits until nothing is held, and keeps everybody from asking
	busy                    atomic.Pointer[chan struct{}] // not nil: who gets the permit keeps it until this is closed
	twice, granted, refused atomic.Int64

	mu   sync.Mutex
	live map[*lease.Lease]bool
}

func (u *users) run(ctx context.Context, s *lease.Semaphore) {
	for ctx.Err() == nil {
		u.use(ctx, s)
	}
}

func (u *users) use(ctx context.Context, s *lease.Semaphore) {
	u.gate.RLock()
	defer u.gate.RUnlock()
	l, err := s.Acquire(ctx, lease.MaxWait(time.Second))
	if err != nil {
		u.refused.Add(1)
		time.Sleep(10 * time.Millisecond)
		return
	}
	u.begin(l)
	var over <-chan struct{}
	work := time.After(10 * time.Millisecond)
	if busy := u.busy.Load(); busy != nil {
		over, work = *busy, nil
	}
	select {
	case <-l.Held().Done():
	case <-ctx.Done():
	case <-over:
	case <-work:
	}
	u.mu.Lock()
	delete(u.live, l)
	u.mu.Unlock()
	_ = l.Release()
}

func (u *users) begin(l *lease.Lease) {
	u.granted.Add(1)
	u.mu.Lock()
	defer u.mu.Unlock()
	for other := range u.live {
		if other.Valid() && l.Valid() {
			u.twice.Add(1)
			break
		}
	}
	if u.live == nil {
		u.live = map[*lease.Lease]bool{}
	}
	u.live[l] = true
}
