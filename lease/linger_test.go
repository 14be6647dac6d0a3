package lease_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// Permits that linger: Config.Linger.

const linger = 20 * time.Millisecond

func lingering(c *lease.Config) { c.Linger = linger }

// scriptsRun counts the scripts that the server runs from now on.
func (w *world) scriptsRun() *atomic.Int64 {
	var n atomic.Int64
	w.net.OnCommand(func(_ string, _ time.Time, cmd []string) {
		if strings.HasPrefix(strings.ToUpper(cmd[0]), "EVAL") || strings.EqualFold(cmd[0], "ZREM") {
			n.Add(1)
		}
	})
	return &n
}

// mustBeFree fails unless nobody holds a permit in Redis.
func (w *world) mustBeFree(when string) {
	w.Helper()
	if held := w.members(); len(held) > 0 {
		w.Errorf("%s: held in Redis: %v", when, held)
	}
}

func (w *world) release(l *lease.Lease) {
	w.Helper()
	if err := l.Release(); err != nil {
		w.Fatal(err)
	}
}

func TestAPermitThatLingersServesTheNextCallerWithoutRedis(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: time.Millisecond / 2})
		m, _ := w.process("a")
		s := w.semaphore(m, 1, lingering)
		w.release(w.acquire(s))
		n := w.scriptsRun()
		const pairs, each = 20_000, 10 * time.Microsecond // in 200 ms
		latest := int64(0)
		start := time.Now()
		for range pairs {
			l := w.acquire(s)
			if l.Token() <= latest {
				w.Fatalf("token %d after %d", l.Token(), latest)
			}
			latest = l.Token()
			w.mustHold(l)
			held := l.Held()
			time.Sleep(each)
			w.release(l)
			if held.Err() == nil || l.Valid() || !errors.Is(l.Err(), lease.ErrReleased) {
				w.Fatalf("a released lease is not over: %v", l.Err())
			}
		}
		if passed := time.Since(start); passed > pairs*each+5*time.Millisecond {
			w.Errorf("%d pairs took %v: some waited for Redis", pairs, passed)
		}
		// Once each half Linger, and once each half of the tokens of a grant.
		if most := int64(pairs*each/(linger/2) + pairs/490 + 2); n.Load() > most {
			w.Errorf("%d scripts for %d pairs, want %d at most", n.Load(), pairs, most)
		}
	})
}

func TestAPermitThatLingersGoesBackAfterLinger(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("a")
		for _, keep := range []time.Duration{linger, worldTTL / 2} {
			s := w.semaphore(m, 2, func(c *lease.Config) { c.Linger = keep })
			w.release(w.acquire(s))
			time.Sleep(keep - time.Millisecond)
			if len(w.members()) != 1 {
				w.Errorf("Linger %v: nothing lingers in Redis just before it is over", keep)
			}
			time.Sleep(2 * time.Millisecond)
			w.mustBeFree(keep.String())
		}
	})
}

// A process that takes its permit again and again, and one elsewhere that wants one.
func TestAWaiterElsewhereWaitsForLingerAndATrip(t *testing.T) {
	turns := 200
	if thorough() {
		turns = 1000
	}
	for _, muted := range []bool{false, true} {
		name := "with notifications"
		if muted {
			name = "without"
		}
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				const keep, latency, section = 50 * time.Millisecond, time.Millisecond, 100 * time.Microsecond
				const retry = 5 * time.Millisecond
				w.net.SetFaults(sim.Faults{Latency: latency})
				a, _ := w.process("a")
				b, host := w.process("b")
				if muted {
					host.Deny("SUBSCRIBE", "PUBLISH")
				}
				greedy := w.semaphore(a, 1, func(c *lease.Config) { c.Linger, c.RetryInterval = keep, retry })
				modest := w.semaphore(b, 1, func(c *lease.Config) { c.RetryInterval = retry })
				ctx, end := context.WithCancel(context.Background())
				done := make(chan int)
				go func() {
					n := 0
					for ; ctx.Err() == nil; n++ {
						_ = greedy.Do(ctx, func(context.Context) error { time.Sleep(section); return nil })
					}
					done <- n
				}()
				time.Sleep(time.Second)
				longest := time.Duration(0)
				for range turns {
					start := time.Now()
					l := w.acquire(modest)
					longest = max(longest, time.Since(start))
					w.release(l)
					time.Sleep(3 * time.Millisecond)
				}
				end()
				bound := keep + section + 3*latency + time.Millisecond // its request, the other's release, the notification
				if muted {
					bound += 2 * retry // a poll of each
				}
				if longest > bound {
					w.Errorf("the longest wait was %v, want %v at most", longest, bound)
				}
				if n := <-done; n < 5*turns {
					w.Errorf("the other took the permit %d times: nothing lingered", n)
				}
			})
		})
	}
}

func TestARequestOfAnotherWeightEndsLingering(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("a")
		s := w.semaphore(m, 2, func(c *lease.Config) { c.Linger = worldTTL / 2 })
		a, b := w.acquire(s), w.acquire(s)
		w.release(a)
		w.release(b)
		start := time.Now()
		heavy := w.acquire(s, lease.Weight(2))
		if waited := time.Since(start); waited > 0 {
			w.Errorf("it waited %v for permits that nobody used", waited)
		}
		w.release(heavy)
		if _, err := s.TryAcquire(context.Background()); err != nil {
			w.Errorf("one attempt beside a heavy permit that lingers: %v", err)
		}
	})
}

func TestPermitsThatLingerGoBackWithTheManager(t *testing.T) {
	for name, end := range map[string]func(*lease.Manager) error{
		"Close":    (*lease.Manager).Close,
		"Shutdown": func(m *lease.Manager) error { return m.Shutdown(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				m, _ := w.process("a")
				s := w.semaphore(m, 3, func(c *lease.Config) { c.Linger = worldTTL / 2 })
				a, b := w.acquire(s), w.acquire(s)
				w.release(a)
				w.release(b)
				start := time.Now()
				if err := end(m); err != nil {
					w.Error(err)
				}
				if took := time.Since(start); took > 100*time.Millisecond {
					w.Errorf("it took %v", took)
				}
				w.mustBeFree("afterwards")
			})
		})
	}
}

// What Close cannot give back it leaves to time. The rest is the time-out of the client, whose call is under way.
func TestCloseWaitsTwoSecondsForPermitsThatLinger(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("a")
		s := w.semaphore(m, 1, func(c *lease.Config) { c.Linger = worldTTL / 2 })
		w.release(w.acquire(s))
		w.net.Stall()
		start := time.Now()
		if err := m.Close(); err != nil {
			w.Error(err)
		}
		if took := time.Since(start); took > 6*time.Second {
			w.Errorf("it took %v", took)
		}
		w.net.Resume()
	})
}

func TestAnOperatorEndsLingering(t *testing.T) {
	for name, act := range map[string]func(*lease.Semaphore, string) error{
		"Pause":  func(s *lease.Semaphore, _ string) error { return s.Pause(context.Background()) },
		"Revoke": func(s *lease.Semaphore, id string) error { return s.Revoke(context.Background(), id) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				a, _ := w.process("a")
				b, _ := w.process("b")
				s := w.semaphore(a, 1, lingering)
				var begun atomic.Int64
				ctx, end := context.WithCancel(context.Background())
				done := make(chan bool)
				var id atomic.Value
				go func() {
					for ctx.Err() == nil {
						l, err := s.Acquire(ctx)
						if err != nil {
							break
						}
						begun.Add(1)
						id.Store(l.ID())
						time.Sleep(time.Millisecond)
						_ = l.Release()
					}
					close(done)
				}()
				time.Sleep(time.Second)
				revoked := id.Load().(string)
				if err := act(w.semaphore(b, 1), revoked); err != nil {
					w.Fatal(err)
				}
				time.Sleep(linger + 2*time.Millisecond)
				switch before := begun.Load(); name {
				case "Pause":
					time.Sleep(time.Second)
					if n := begun.Load(); n != before {
						w.Errorf("%d leases began more than Linger after the pause", n-before)
					}
					w.mustBeFree("after the pause")
				case "Revoke":
					if id.Load() == revoked {
						w.Error("the permit that was revoked is still in use")
					}
				}
				end()
				<-done
			})
		})
	}
}

// A permit that is lost while nobody uses it is nobody's loss.
func TestAPermitThatIsLostWhileItLingersIsForgotten(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, host := w.process("a")
		s := w.semaphore(m, 1, func(c *lease.Config) { c.Linger, c.TTL = time.Second, 2*time.Second })
		w.release(w.acquire(s))
		host.Partition()
		time.Sleep(10 * time.Second)
		if log := w.log.String(); strings.Contains(log, "lost") {
			w.Errorf("the log says: %s", log)
		}
		host.Heal()
		l := w.acquire(s)
		w.mustHold(l)
		w.release(l)
	})
}

// One that Redis has lost is not granted anew behind its holder's back.
func TestAPermitThatRedisHasLostIsNotGrantedAnew(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("a")
		s := w.semaphore(m, 2, lingering)
		w.release(w.acquire(s))
		time.Sleep(linger * 3 / 4)
		w.net.Restart(false)
		l := w.acquire(s) // it lingered; that Redis is asked again finds the loss
		<-l.Held().Done()
		if !errors.Is(l.Err(), lease.ErrLost) {
			w.Errorf("the lease ended with %v, want a loss", l.Err())
		}
		w.mustBeFree("after the loss")
	})
}

func TestTheTracerKnowsAReusedPermit(t *testing.T) {
	inBubble(t, func(w *world) {
		seen := &outcomes{}
		m, _ := w.process("a", func(_ *redis.Options, o *lease.Options) { o.Tracers = []lease.Tracer{seen} })
		s := w.semaphore(m, 1, lingering)
		w.release(w.acquire(s))
		w.release(w.acquire(s))
		time.Sleep(2 * linger)
		w.release(w.acquire(s))
		if got := fmt.Sprint(seen.list); got != "[granted reused granted]" {
			w.Errorf("outcomes %v", got)
		}
	})
}

// outcomes are those of the acquires of one goroutine.
type outcomes struct {
	lease.NopTracer
	list []lease.Outcome
}

func (o *outcomes) TraceAcquireEnd(_ context.Context, end lease.AcquireEnd) {
	o.list = append(o.list, end.Outcome)
}

// A handle that goes by fewer permits, or that is strict, does not take what others of its process keep.
func TestAHandleOfASmallerCapacityReusesNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("a")
		narrow := w.semaphore(m, 1)
		wide := w.semaphore(m, 2, func(c *lease.Config) { c.Linger = worldTTL / 2 })
		held := w.acquire(wide)
		w.release(w.acquire(wide))
		if _, err := narrow.TryAcquire(context.Background()); !errors.Is(err, lease.ErrAtCapacity) {
			w.Errorf("beside one lease, a handle of capacity 1 gets %v", err)
		}
		w.release(held)
	})
}

// On a real server: what a pair costs, and that who wants a permit elsewhere gets one.
func TestRealRedisAPermitThatLingersCostsHardlyACommand(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	admin := server.Client(t)
	a, _ := openWith(t, "redis://"+server.Addr())
	b, _ := openWith(t, "redis://"+server.Addr())
	const keep = 50 * time.Millisecond
	s, other := gpu(t, a, lease.Config{Linger: keep}), gpu(t, b, lease.Config{})
	pairs := func(until func() bool) (n int) {
		for latest := int64(0); !until(); n++ {
			l := realAcquire(t, s)
			if l.Token() <= latest {
				t.Errorf("token %d after %d", l.Token(), latest)
			}
			latest = l.Token()
			if err := l.Release(); err != nil {
				t.Error(err)
			}
		}
		return n
	}
	pairs(func() bool { return calls(t, admin, "evalsha") > 0 }) // the scripts are loaded
	before, start := calls(t, admin, "evalsha"), time.Now()
	n := pairs(func() bool { return time.Since(start) > time.Second })
	// A permit that lingers is granted anew after some of these times, and after 999 leases, whose tokens must differ.
	scripts, periods := calls(t, admin, "evalsha")-before, int64(time.Since(start)/keep)
	if scripts > 4*periods+4+int64(n)/500 || int64(n) < 2*scripts {
		t.Errorf("%d pairs and %d scripts in %d times Linger", n, scripts, periods)
	}

	var enough atomic.Bool
	done := make(chan int)
	go func() { done <- pairs(enough.Load) }()
	for range 5 {
		if err := realAcquire(t, other).Release(); err != nil {
			t.Error(err)
		}
	}
	enough.Store(true)
	if n := <-done; n == 0 {
		t.Error("nobody was beside it")
	}
	if err := a.Close(); err != nil { // gives back what lingers
		t.Error(err)
	}
	mustBecomeClean(t, admin)
}
