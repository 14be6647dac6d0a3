package lease_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// A line of callers waits while somebody holds the only permit, each arriving a little after the one
// before. They write down who is served.
type callersInLine struct {
	mu     sync.Mutex
	served []int
	wg     sync.WaitGroup
}

func (c *callersInLine) add(w *world, s *lease.Semaphore, n int, hold time.Duration, opts ...lease.AcquireOption) {
	c.wg.Go(func() {
		l, err := s.Acquire(context.Background(), opts...)
		if err != nil {
			w.Errorf("caller %d: %v", n, err)
			return
		}
		c.mu.Lock()
		c.served = append(c.served, n)
		c.mu.Unlock()
		time.Sleep(hold)
		_ = l.Release()
	})
	time.Sleep(20 * time.Millisecond)
}

func (c *callersInLine) mustBeServedInOrder(w *world, n int) {
	w.Helper()
	c.wg.Wait()
	if len(c.served) != n || !slices.IsSorted(c.served) {
		w.Errorf("served in the order %v", c.served)
	}
}

func noHandover(c *lease.Config) { c.Handover = -1 }

func TestPromise8FirstComeFirstServed(t *testing.T) {
	t.Run("across processes", func(t *testing.T) {
		inBubble(t, func(w *world) {
			w.net.SetFaults(sim.Faults{Latency: time.Millisecond, Jitter: 2 * time.Millisecond})
			var sems []*lease.Semaphore
			for i := range 3 {
				m, _ := w.process(fmt.Sprintf("p%d", i))
				sems = append(sems, w.semaphore(m, 1, noHandover))
			}
			first := w.acquire(sems[0])
			var line callersInLine
			for i := range 15 {
				line.add(w, sems[(i*i+1)%3], i, 30*time.Millisecond)
			}
			_ = first.Release()
			line.mustBeServedInOrder(w, 15)
		})
	})
	t.Run("a place survives the loss of the queue", func(t *testing.T) {
		inBubble(t, func(w *world) {
			a, _ := w.process("a")
			b, _ := w.process("b")
			sa, sb := w.semaphore(a, 1, noHandover), w.semaphore(b, 1, noHandover)
			first := w.acquire(sa)
			var line callersInLine
			for i := range 6 {
				line.add(w, []*lease.Semaphore{sb, sa}[i%2], i, 30*time.Millisecond)
			}
			w.net.Look(func(r *miniredis.Miniredis) { r.Del("{passbuddy-gpu}:queue"); r.Del("{passbuddy-gpu}:alive") })
			time.Sleep(time.Second) // both have polled
			_ = first.Release()
			line.mustBeServedInOrder(w, 6)
		})
	})
	t.Run("a heavy request is not starved", func(t *testing.T) {
		inBubble(t, func(w *world) {
			a, _ := w.process("a")
			b, _ := w.process("b")
			sa, sb := w.semaphore(a, 3, noHandover), w.semaphore(b, 3, noHandover)
			one, two := w.acquire(sa), w.acquire(sa)
			var line callersInLine
			line.add(w, sb, 0, 30*time.Millisecond, lease.Weight(3))
			line.add(w, sa, 1, 30*time.Millisecond) // there is a permit for it, and it waits
			line.add(w, sb, 2, 30*time.Millisecond)
			if _, err := sa.TryAcquire(context.Background()); !errors.Is(err, lease.ErrAtCapacity) {
				w.Errorf("an attempt overtakes those who wait: %v", err)
			}
			_ = one.Release()
			_ = two.Release()
			line.wg.Wait()
			if len(line.served) != 3 || line.served[0] != 0 {
				w.Errorf("served in the order %v", line.served)
			}
		})
	})
	for _, dead := range []string{"at the head", "behind the head"} {
		t.Run("the dead hold up nobody "+dead, func(t *testing.T) {
			inBubble(t, func(w *world) {
				a, _ := w.process("a")
				b, hostB := w.process("b")
				sa, sb := w.semaphore(a, 1, noHandover), w.semaphore(b, 1, noHandover)
				first := w.acquire(sa)
				var line callersInLine
				if dead == "behind the head" {
					line.add(w, sa, 0, 30*time.Millisecond)
				}
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				go func() { _, _ = sb.Acquire(ctx) }()
				time.Sleep(20 * time.Millisecond)
				line.add(w, sa, 1, 30*time.Millisecond)
				hostB.Kill()
				begin := time.Now()
				_ = first.Release()
				line.wg.Wait()
				if d := time.Since(begin); d > worldTTL+time.Second {
					w.Errorf("served after %v: a dead waiter costs one TTL at most", d)
				}
			})
		})
	}
	t.Run("hand-over in the process is bounded", func(t *testing.T) {
		inBubble(t, func(w *world) {
			a, _ := w.process("greedy")
			b, _ := w.process("modest")
			bound := func(c *lease.Config) { c.Handover = 20 * time.Millisecond }
			sa, sb := w.semaphore(a, 1, bound), w.semaphore(b, 1, bound)
			stop, end := context.WithCancel(context.Background())
			defer end()
			var greedy atomic.Int64
			var callers sync.WaitGroup
			for range 8 {
				callers.Go(func() {
					for stop.Err() == nil {
						_ = sa.Do(context.Background(), func(context.Context) error {
							greedy.Add(1)
							time.Sleep(time.Millisecond)
							return nil
						})
					}
				})
			}
			time.Sleep(100 * time.Millisecond)
			var longest time.Duration
			for range 20 {
				begin := time.Now()
				l := w.acquire(sb)
				longest = max(longest, time.Since(begin))
				_ = l.Release()
			}
			end()
			callers.Wait()
			if longest > 25*time.Millisecond {
				w.Errorf("the modest process waited for %v, hand-over is bounded by 20ms", longest)
			}
			if greedy.Load() < 100 {
				w.Errorf("the greedy process got %d: nothing was handed over", greedy.Load())
			}
		})
	})
}

// A freed permit wakes the process that it was given to, and nobody else; what that costs does not grow
// with the number of those who wait.
func TestPromise9NoHerd(t *testing.T) {
	for _, waiters := range []int{2, 40} {
		t.Run(fmt.Sprintf("%d processes wait", waiters), func(t *testing.T) {
			inBubble(t, func(w *world) {
				slow := func(c *lease.Config) { c.TTL, c.RetryInterval = time.Hour, 20*time.Minute }
				holder, _ := w.process("holder")
				known := w.acquire(w.semaphore(holder, 1, slow))
				time.Sleep(time.Second)
				_ = known.Release() // now the server knows the scripts
				l := w.acquire(w.semaphore(holder, 1, slow))
				var mu sync.Mutex
				var served []string
				stop, end := context.WithCancel(context.Background())
				for i := range waiters {
					name := fmt.Sprintf("p%02d", i)
					m, _ := w.process(name)
					s := w.semaphore(m, 1, slow)
					go func() {
						l, err := s.Acquire(stop)
						if err != nil {
							return
						}
						mu.Lock()
						served = append(served, name)
						mu.Unlock()
						<-stop.Done()
						_ = l.Release()
					}()
					time.Sleep(20 * time.Millisecond)
				}
				var said []string
				w.net.OnCommand(func(host string, _ time.Time, cmd []string) {
					mu.Lock()
					defer mu.Unlock()
					said = append(said, host+" "+strings.ToLower(cmd[0]))
				})
				_ = l.Release()
				time.Sleep(3 * time.Second)
				mu.Lock()
				talk := slices.Clone(said)
				talk = slices.DeleteFunc(talk, func(s string) bool { return strings.HasSuffix(s, " ping") })
				if len(served) != 1 || served[0] != "p00" {
					w.Errorf("served: %v", served)
				}
				if want := []string{"holder zrem", "holder evalsha"}; !slices.Equal(talk, want) { // one trip
					w.Errorf("a hand-over took %v; want the release alone, %v", talk, want)
				}
				mu.Unlock()
				end()
				synctest.Wait()
			})
		})
	}
}

func TestPromise11LimitsAreExplicit(t *testing.T) {
	ctx := context.Background()
	t.Run("an override wins for all and takes nothing away", func(t *testing.T) {
		inBubble(t, func(w *world) {
			a, _ := w.process("a")
			b, _ := w.process("b")
			sa, sb := w.semaphore(a, 1), w.semaphore(b, 1)
			first := w.acquire(sa)
			var line callersInLine
			line.add(w, sb, 0, time.Second)
			begin := time.Now()
			if err := sa.Resize(ctx, 2); err != nil {
				w.Fatal(err)
			}
			line.wg.Wait()
			if d := time.Since(begin); d > 1100*time.Millisecond {
				w.Errorf("served after %v: a capacity that grows promotes at once", d-time.Second)
			}
			second := w.acquire(sb)
			if err := sb.Resize(ctx, 1); err != nil {
				w.Fatal(err)
			}
			time.Sleep(2 * worldTTL)
			w.mustHold(first)
			w.mustHold(second)
			_ = first.Release()
			var full *lease.CapacityError
			if _, err := sa.TryAcquire(ctx); !errors.As(err, &full) || full.Capacity != 1 || full.Held != 1 {
				w.Errorf("two hold, one released, capacity 1: %v", err)
			}
			_ = second.Release()
			_ = w.acquire(sa).Release()
		})
	})
	t.Run("a pause lasts through a deploy until it is removed", func(t *testing.T) {
		inBubble(t, func(w *world) {
			a, _ := w.process("a")
			if err := w.semaphore(a, 1).Pause(ctx); err != nil {
				w.Fatal(err)
			}
			_ = a.Close()
			time.Sleep(48 * time.Hour)
			b, _ := w.process("b")
			s := w.semaphore(b, 3)
			var line callersInLine
			line.add(w, s, 0, 0, lease.Weight(2))
			time.Sleep(3 * worldTTL)
			if len(line.served) > 0 {
				w.Error("served while paused")
			}
			if _, err := s.TryAcquire(ctx); err == nil || !strings.Contains(err.Error(), "paused") {
				w.Errorf("an attempt while paused: %v", err)
			}
			begin := time.Now()
			if err := s.ResetCapacity(ctx); err != nil {
				w.Fatal(err)
			}
			line.wg.Wait()
			if time.Since(begin) > 50*time.Millisecond {
				w.Errorf("served %v after the pause", time.Since(begin))
			}
		})
	})
	t.Run("a request that has become impossible is refused", func(t *testing.T) {
		inBubble(t, func(w *world) {
			a, _ := w.process("a")
			s := w.semaphore(a, 3)
			if _, err := s.Acquire(ctx, lease.Weight(4)); !errors.Is(err, lease.ErrOption) || !strings.Contains(err.Error(), "Weight = 4") {
				w.Errorf("heavier than the capacity: %v", err)
			}
			l := w.acquire(s)
			refused := make(chan error)
			go func() {
				_, err := s.Acquire(ctx, lease.Weight(3))
				refused <- err
			}()
			time.Sleep(20 * time.Millisecond)
			if err := s.Resize(ctx, 2); err != nil {
				w.Fatal(err)
			}
			if err := <-refused; !errors.Is(err, lease.ErrOption) || !strings.Contains(err.Error(), "capacity of 2") {
				w.Errorf("made impossible: %v", err)
			}
			_ = l.Release()
		})
	})
	t.Run("processes that disagree are told", func(t *testing.T) {
		inBubble(t, func(w *world) {
			a, _ := w.process("a")
			b, _ := w.process("b")
			sa := w.semaphore(a, 2)
			sb := w.semaphore(b, 3, func(c *lease.Config) { c.TTL = 9 * time.Second })
			for range 3 {
				_ = w.acquire(sa).Release()
				_ = w.acquire(sb).Release()
			}
			synctest.Wait() // nothing waits for the log
			if n := strings.Count(w.log.String(), "declares other limits"); n != 2 {
				w.Errorf("%d lines in the log, want one for each:\n%s", n, w.log)
			}
			state, err := sa.Inspect(ctx)
			if err != nil {
				w.Fatal(err)
			}
			if state.Declared != 2 || state.OtherDeclared != 3 || state.DeclaredTTL != worldTTL || state.OtherTTL != 9*time.Second {
				w.Errorf("Inspect says %+v", state)
			}
		})
	})
}

func TestRevokedLeasesEndAndTheirPermitStaysUntilTheyAreReleased(t *testing.T) {
	inBubble(t, func(w *world) {
		ctx := context.Background()
		a, _ := w.process("a")
		b, _ := w.process("b")
		sa, sb := w.semaphore(a, 3), w.semaphore(b, 3)
		l := w.acquire(sa, lease.Weight(2))
		if err := sb.Revoke(ctx, l.ID()); err != nil {
			w.Fatal(err)
		}
		<-l.Held().Done() // with the next renewal at the latest
		var lost *lease.LostError
		if !errors.As(l.Err(), &lost) || lost.Reason != lease.LossRevoked {
			w.Errorf("ended with %v", l.Err())
		}
		if err := sb.Revoke(ctx, l.ID()); err != nil {
			w.Errorf("revoked again: %v", err)
		}
		if _, err := sb.TryAcquire(ctx, lease.Weight(2)); !errors.Is(err, lease.ErrAtCapacity) {
			w.Errorf("the permit is free before its holder has released it: %v", err)
		}
		if err := l.Release(); !errors.Is(err, lease.ErrLost) {
			w.Errorf("Release: %v", err)
		}
		if _, err := sb.TryAcquire(ctx, lease.Weight(3)); err != nil {
			w.Errorf("released, and not free: %v", err)
		}
		if err := sb.Revoke(ctx, l.ID()); !errors.Is(err, lease.ErrUnknownID) {
			w.Errorf("nobody holds it: %v", err)
		}
	})
}

func TestWaitersAreServedByPollingWhenPushesAreLost(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.DropPushes(1)
		a, _ := w.process("a")
		b, _ := w.process("b")
		sa, sb := w.semaphore(a, 1), w.semaphore(b, 1)
		l := w.acquire(sa)
		var line callersInLine
		line.add(w, sb, 0, 0)
		begin := time.Now()
		_ = l.Release()
		line.mustBeServedInOrder(w, 1)
		if d := time.Since(begin); d > 600*time.Millisecond {
			w.Errorf("served after %v, want a poll at the latest", d)
		}
	})
}

func TestACrashedHoldersPermitIsTakenJustAfterItsExpiry(t *testing.T) {
	inBubble(t, func(w *world) {
		a, host := w.process("a")
		b, _ := w.process("b")
		sa := w.semaphore(a, 1)
		sb := w.semaphore(b, 1, func(c *lease.Config) { c.RetryInterval = 2 * time.Second })
		l := w.acquire(sa)
		var expiry time.Time
		for _, at := range w.members() {
			expiry = at
		}
		_ = l
		host.Kill()
		var line callersInLine
		line.add(w, sb, 0, 0)
		line.mustBeServedInOrder(w, 1)
		if late := time.Since(expiry); late < 0 || late > 20*time.Millisecond {
			w.Errorf("taken %v after the expiry", late)
		}
	})
}

// A process whose callers pass a permit on never has to ask Redis for one. It is told of a pause all the same.
func TestAPauseEndsHandOverInTime(t *testing.T) {
	for _, callers := range []int{2, 5} {
		t.Run(fmt.Sprint(callers), func(t *testing.T) {
			inBubble(t, func(w *world) {
				a, _ := w.process("a")
				b, _ := w.process("b")
				s := w.semaphore(a, 1, func(c *lease.Config) { c.Handover = time.Minute })
				other := w.semaphore(b, 1)
				ctx, end := context.WithCancel(context.Background())
				var begun, late atomic.Int64
				var paused atomic.Pointer[time.Time]
				var all sync.WaitGroup
				for range callers {
					all.Go(func() {
						for ctx.Err() == nil {
							_ = s.Do(ctx, func(context.Context) error {
								begun.Add(1)
								if at := paused.Load(); at != nil && time.Since(*at) > time.Second {
									late.Add(1)
								}
								time.Sleep(20 * time.Millisecond)
								return nil
							})
						}
					})
				}
				time.Sleep(3 * time.Second)
				if begun.Load() < 50 {
					w.Errorf("%d leases: nothing is handed over", begun.Load())
				}
				if err := other.Pause(context.Background()); err != nil {
					w.Fatal(err)
				}
				now := time.Now()
				paused.Store(&now)
				time.Sleep(10 * time.Second)
				if n := late.Load(); n > 0 {
					w.Errorf("%d leases began more than a second after the pause", n)
				}
				end()
				all.Wait()
			})
		})
	}
}
