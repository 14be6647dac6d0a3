package lease_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// Each promise of the design has a test here that is named after it; internal/sim judges them all under
// random troubles, and realredis_test.go on real servers.

func TestPromise1Capacity(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: time.Millisecond, Jitter: 5 * time.Millisecond})
		var live, most, done atomic.Int64
		var callers sync.WaitGroup
		for p := range 3 {
			m, _ := w.process(fmt.Sprintf("p%d", p))
			s := w.semaphore(m, 2)
			for range 4 {
				callers.Go(func() {
					for range 10 {
						err := s.Do(context.Background(), func(context.Context) error {
							most.Store(max(most.Load(), live.Add(1)))
							time.Sleep(20 * time.Millisecond)
							live.Add(-1)
							return nil
						})
						if err != nil {
							w.Error(err)
						}
						done.Add(1)
					}
				})
			}
		}
		callers.Wait()
		if most.Load() != 2 || done.Load() != 120 {
			w.Errorf("%d at a time, %d in all; want 2 and 120", most.Load(), done.Load())
		}
	})
}

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

func TestPromise4LossIsFinal(t *testing.T) {
	t.Run("a renewal recreates nothing", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, _ := w.process("p")
			l := w.acquire(w.semaphore(m, 1))
			w.net.Server().Del("passbuddy-gpu")
			<-l.Context().Done()
			var lost *lease.LostError
			if !errors.As(l.Err(), &lost) || lost.Reason != lease.LossRemoved {
				w.Errorf("Err = %v", l.Err())
			}
			time.Sleep(worldTTL)
			if n := len(w.members()); n != 0 {
				w.Errorf("%d members came back", n)
			}
		})
	})
	t.Run("a late reply revives nothing", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, _ := w.process("p")
			l := w.acquire(w.semaphore(m, 1))
			time.Sleep(time.Second)
			w.net.SetFaults(sim.Faults{Latency: worldTTL}) // the renewal succeeds, and nobody hears of it in time
			<-l.Context().Done()
			end := l.TrustedUntil()
			time.Sleep(2 * worldTTL)
			if l.Valid() || l.TrustedUntil() != end || !errors.Is(l.Err(), lease.ErrLost) {
				w.Error("the lease came back")
			}
			w.net.SetFaults(sim.Faults{})
		})
	})
	t.Run("a permit that was given away is not taken back", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, host := w.process("p")
			other, _ := w.process("q")
			l := w.acquire(w.semaphore(m, 1))
			host.Partition()
			l2 := w.acquire(w.semaphore(other, 1))
			if l.Valid() {
				w.Error("two hold the permit")
			}
			host.Heal()
			time.Sleep(3 * worldTTL)
			w.mustHold(l2)
			if err := l.Release(); !errors.Is(err, lease.ErrLost) {
				w.Errorf("Release returned %v", err)
			}
			time.Sleep(worldTTL)
			w.mustHold(l2)
		})
	})
}

func TestPromise5APermitGoesBackWhenItsHolderSaysSoOrTimeTakesIt(t *testing.T) {
	t.Run("not when the caller's context ends", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, _ := w.process("p")
			s := w.semaphore(m, 1)
			ctx, cancel := context.WithCancel(context.Background())
			l := w.acquireWith(ctx, s)
			cancel()
			time.Sleep(10 * worldTTL)
			if _, err := s.TryAcquire(context.Background()); !errors.Is(err, lease.ErrAtCapacity) {
				w.Errorf("TryAcquire returned %v during the teardown", err)
			}
			if err := l.Release(); err != nil {
				w.Error(err)
			}
			if l, err := s.TryAcquire(context.Background()); err != nil {
				w.Error(err)
			} else {
				_ = l.Release()
			}
		})
	})
	t.Run("MaxHold bounds a holder that is stuck", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, _ := w.process("p")
			s := w.semaphore(m, 1)
			start := time.Now()
			l := w.acquire(s, lease.MaxHold(10*time.Second))
			<-l.Held().Done()
			if d := time.Since(start); d != 10*time.Second || !errors.Is(l.Err(), lease.ErrMaxHold) {
				w.Errorf("ended after %v: %v", d, l.Err())
			}
			synctest.Wait()
			if len(w.members()) != 1 {
				w.Error("the permit went back before its holder said so")
			}
			next := w.acquire(s)
			if d := time.Since(start); d > 10*time.Second+worldTTL+600*time.Millisecond {
				w.Errorf("time took the permit only after %v", d)
			}
			_ = next.Release()
		})
	})
	t.Run("Close gives back nothing", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, _ := w.process("p")
			l := w.acquire(w.semaphore(m, 1))
			if err := m.Close(); err != nil {
				w.Fatal(err)
			}
			if !errors.Is(l.Err(), lease.ErrClosed) || l.Held().Err() == nil {
				w.Errorf("Err = %v", l.Err())
			}
			if err := l.Release(); !errors.Is(err, lease.ErrClosed) {
				w.Errorf("Release returned %v", err)
			}
			if len(w.members()) != 1 {
				w.Error("the permit was given back")
			}
		})
	})
	t.Run("Shutdown waits for the holders", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, _ := w.process("p")
			s := w.semaphore(m, 1)
			l := w.acquire(s)
			waiting := make(chan error)
			go func() { _, err := s.Acquire(context.Background()); waiting <- err }()
			synctest.Wait()
			ctx, cancel := context.WithTimeout(context.Background(), 3*worldTTL)
			defer cancel()
			if err := m.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
				w.Errorf("Shutdown returned %v while a lease was held", err)
			}
			if err := <-waiting; !errors.Is(err, lease.ErrClosed) {
				w.Errorf("the waiter got %v", err)
			}
			w.mustHold(l)
			if _, err := s.Acquire(context.Background()); !errors.Is(err, lease.ErrClosed) {
				w.Errorf("Acquire returned %v", err)
			}
			done := make(chan error)
			go func() { done <- m.Shutdown(context.Background()) }()
			synctest.Wait()
			if err := l.Release(); err != nil {
				w.Error(err)
			}
			if err := <-done; err != nil {
				w.Error(err)
			}
		})
	})
}

func TestPromise6AlwaysAReason(t *testing.T) {
	changedMind := errors.New("changed my mind")
	for _, tc := range []struct {
		name string
		end  func(*world, *lease.Manager, *lease.Lease, context.CancelCauseFunc)
		want error
	}{
		{"expired", func(w *world, _ *lease.Manager, l *lease.Lease, _ context.CancelCauseFunc) {
			w.net.Host("p").Refuse()
			<-l.Context().Done()
			var trouble *net.OpError
			if !errors.As(l.Err(), &trouble) {
				w.Errorf("the last error of Redis is not inside: %v", l.Err())
			}
		}, lease.ErrLost},
		{"removed", func(w *world, _ *lease.Manager, l *lease.Lease, _ context.CancelCauseFunc) {
			w.net.Server().FlushAll()
		}, lease.ErrLost},
		{"released", func(_ *world, _ *lease.Manager, l *lease.Lease, _ context.CancelCauseFunc) { _ = l.Release() }, lease.ErrReleased},
		{"over MaxHold", func(*world, *lease.Manager, *lease.Lease, context.CancelCauseFunc) {}, lease.ErrMaxHold},
		{"closed", func(_ *world, m *lease.Manager, _ *lease.Lease, _ context.CancelCauseFunc) { _ = m.Close() }, lease.ErrClosed},
		{"the caller's cause", func(_ *world, _ *lease.Manager, _ *lease.Lease, cancel context.CancelCauseFunc) { cancel(changedMind) }, changedMind},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				m, _ := w.process("p", func(o *redis.Options, _ *lease.Options) { o.DialerRetries = 1 })
				ctx, cancel := context.WithCancelCause(context.Background())
				defer cancel(nil)
				l := w.acquireWith(ctx, w.semaphore(m, 1), lease.MaxHold(10*worldTTL))
				tc.end(w, m, l, cancel)
				<-l.Context().Done()
				if !errors.Is(l.Err(), tc.want) || !errors.Is(context.Cause(l.Context()), tc.want) {
					w.Errorf("Err %v, cause %v; want %v", l.Err(), context.Cause(l.Context()), tc.want)
				}
			})
		})
	}
}

func TestPromise7NothingLeaks(t *testing.T) {
	t.Run("a cancelled acquire", func(t *testing.T) {
		inBubble(t, func(w *world) {
			w.net.SetFaults(sim.Faults{Latency: 50 * time.Millisecond})
			m, _ := w.process("p")
			s := w.semaphore(m, 1)
			w.acquire(s).Release() // connected, the clock known
			ctx, cancel := context.WithTimeout(context.Background(), 75*time.Millisecond)
			defer cancel()
			if _, err := s.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
				w.Fatalf("Acquire returned %v", err) // granted by now, and the reply is on its way
			}
			if len(w.members()) != 1 {
				w.Fatal("the test needs a permit that was granted")
			}
			time.Sleep(80 * time.Millisecond) // the reply, and one round trip
			if n := len(w.members()); n != 0 {
				w.Errorf("%d permits leaked", n)
			}
		})
	})
	t.Run("a request that arrives after it was given up", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, host := w.process("p")
			s := w.semaphore(m, 1)
			w.acquire(s).Release()
			host.SetFaults(sim.Faults{DelayRequest: 1, DelayUpTo: 4 * worldTTL})
			ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
			defer cancel()
			if _, err := s.Acquire(ctx); err == nil {
				w.Fatal("acquired")
			}
			host.SetFaults(sim.Faults{})
			time.Sleep(worldTTL/8 + 100*time.Millisecond) // the attempt is given up
			var taken atomic.Int64
			w.net.OnCommand(func(string, time.Time, []string) { taken.Add(int64(len(membersOf(w.net.Server())))) })
			time.Sleep(5 * worldTTL)
			if taken.Load() != 0 {
				w.Errorf("a request that nobody waits for took a permit")
			}
		})
	})
	t.Run("a lost reply", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, host := w.process("p", func(o *redis.Options, _ *lease.Options) { o.MaxRetries = -1 })
			s := w.semaphore(m, 1)
			w.acquire(s).Release()
			host.SetFaults(sim.Faults{CutReply: 1})
			if _, err := s.Acquire(context.Background()); err == nil {
				w.Fatal("acquired")
			}
			if len(w.members()) != 1 {
				w.Fatal("the test needs a permit that was granted")
			}
			host.SetFaults(sim.Faults{})
			time.Sleep(worldTTL/8 + 100*time.Millisecond) // the release waits until no request can be on its way
			if n := len(w.members()); n != 0 {
				w.Errorf("%d permits leaked", n)
			}
		})
	})
	t.Run("a crash", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, host := w.process("p")
			other, _ := w.process("q")
			w.acquire(w.semaphore(m, 1))
			host.Kill()
			start := time.Now()
			l := w.acquire(w.semaphore(other, 1))
			if d := time.Since(start); d > worldTTL+10*time.Millisecond {
				w.Errorf("free after %v, want just after its expiry", d)
			}
			_ = l.Release()
		})
	})
	t.Run("an outage", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, host := w.process("p")
			s := w.semaphore(m, 1)
			host.Refuse()
			if _, err := s.Acquire(context.Background()); err == nil {
				w.Fatal("acquired")
			}
			time.Sleep(3 * worldTTL)
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			if err := m.Shutdown(ctx); err != nil {
				w.Errorf("something is left: %v", err)
			}
		})
	})
}

func TestPromise10TokensGrow(t *testing.T) {
	inBubble(t, func(w *world) {
		var last int64
		take := func(m *lease.Manager) {
			w.Helper()
			l := w.acquire(w.semaphore(m, 1))
			if l.Token() <= last {
				w.Errorf("token %d after %d", l.Token(), last)
			}
			last = l.Token()
			if err := l.Release(); err != nil {
				w.Error(err)
			}
		}
		a, _ := w.process("a")
		b, _ := w.process("b")
		for range 5 { // all at one instant of the server's clock
			take(a)
			take(b)
		}
		w.net.Restart(true)
		take(a)
		w.net.Restart(false)         // the data is gone, the clock goes on
		time.Sleep(time.Millisecond) // the tokens above ran ahead of a clock that stood still
		take(b)
		w.net.SetClockOffset(-time.Hour) // as far as the fence key remembers
		take(a)
		take(b)
	})
}

func TestTroubleOfTheServerIsMetWithPatience(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p", func(o *redis.Options, _ *lease.Options) { o.MaxRetries = -1 })
		l := w.acquire(w.semaphore(m, 1))
		defer l.Release()
		w.net.SetError("READONLY You can't write against a read only replica.")
		var commands atomic.Int64
		w.net.OnCommand(func(string, time.Time, []string) { commands.Add(1) })
		time.Sleep(worldTTL)
		if n := commands.Load(); n > 200 { // a loop would send thousands
			w.Errorf("%d commands in one TTL", n)
		}
		w.net.SetError("")
	})
}

func TestAMaxHoldThatIsOverAtOnceIsNoLease(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: time.Millisecond})
		m, _ := w.process("p")
		l, err := w.semaphore(m, 1).Acquire(context.Background(), lease.MaxHold(1))
		if err == nil {
			<-l.Held().Done()
			_ = l.Release()
		} else if !errors.Is(err, lease.ErrMaxHold) {
			w.Error(err)
		}
		time.Sleep(time.Second)
		if n := len(w.members()); n != 0 {
			w.Errorf("%d permits are left", n)
		}
	})
}

func TestDoTakesAnEarlyReleaseForWhatItIs(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p")
		err := w.semaphore(m, 1).Do(context.Background(), func(ctx context.Context) error {
			return lease.FromContext(ctx).Release()
		})
		if err != nil {
			w.Error(err)
		}
	})
}

func TestDoReportsALossBesideTheErrorOfTheWork(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 1)
		mine := errors.New("mine")
		lose := func(err error) error {
			return s.Do(context.Background(), func(ctx context.Context) error {
				w.net.Server().FlushAll()
				<-ctx.Done()
				return err
			})
		}
		if err := lose(nil); !errors.Is(err, lease.ErrLost) {
			w.Errorf("fn returned nil without protection: %v", err)
		}
		if err := lose(mine); !errors.Is(err, lease.ErrLost) || !errors.Is(err, mine) {
			w.Errorf("%v does not match both", err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = s.Do(context.Background(), func(context.Context) error { panic("oh") })
		}()
		synctest.Wait()
		if n := len(w.members()); n != 0 {
			w.Errorf("a panic left %d permits", n)
		}
	})
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
