package lease_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

func TestAGroupsLimitIsTheFleets(t *testing.T) {
	inAnHour(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: time.Millisecond})
		var live, most, ran atomic.Int64
		groups := make([]*lease.Group, 3)
		for i := range groups {
			m, _ := w.process(fmt.Sprintf("p%d", i))
			groups[i] = w.semaphore(m, 2).Group(context.Background())
		}
		started := make(chan bool)
		for _, g := range groups {
			go func() {
				for range 10 {
					g.Go(func(ctx context.Context) error {
						if l := lease.FromContext(ctx); l == nil || !l.Valid() {
							w.Error("not under a lease")
						}
						most.Store(max(most.Load(), live.Add(1)))
						time.Sleep(20 * time.Millisecond)
						live.Add(-1)
						ran.Add(1)
						return nil
					})
				}
				started <- true
			}()
		}
		for range groups {
			<-started
		}
		for _, g := range groups {
			if err := g.Wait(); err != nil {
				w.Error(err)
			}
			if g.Context().Err() == nil {
				w.Error("the group's context goes on after Wait")
			}
		}
		if most.Load() != 2 || ran.Load() != 30 {
			w.Errorf("%d at a time, %d in all; want 2 and 30", most.Load(), ran.Load())
		}
		if n := len(w.members()); n != 0 {
			w.Errorf("%d permits are left after Wait", n)
		}
	})
}

func TestAGroupsWaitReturnsTheFirstRealReason(t *testing.T) {
	mine := errors.New("mine")
	untilOver := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	for _, tc := range []struct {
		name string
		run  func(*world, *lease.Group, context.CancelCauseFunc)
		want error
		says string // all that it says, if not empty
	}{
		{"a function's error", func(_ *world, g *lease.Group, _ context.CancelCauseFunc) {
			g.Go(untilOver)
			g.Go(func(context.Context) error { return mine })
		}, mine, "mine"},
		{"a lost lease", func(_ *world, g *lease.Group, _ context.CancelCauseFunc) {
			g.Go(untilOver)
			g.Go(func(ctx context.Context) error {
				leasetest.Lose(lease.FromContext(ctx))
				return untilOver(ctx)
			})
		}, lease.ErrLost, ""},
		{"a lost lease and a function that did not notice", func(_ *world, g *lease.Group, _ context.CancelCauseFunc) {
			g.Go(func(ctx context.Context) error { leasetest.Lose(lease.FromContext(ctx)); return nil })
		}, lease.ErrLost, ""},
		{"leases that are lost together", func(w *world, g *lease.Group, _ context.CancelCauseFunc) {
			g.Go(untilOver)
			g.Go(untilOver)
			w.net.Stall()
			time.Sleep(2 * worldTTL)
			w.net.Resume()
		}, lease.ErrLost, ""},
		{"the caller's cause", func(_ *world, g *lease.Group, cancel context.CancelCauseFunc) {
			g.Go(untilOver)
			g.Go(untilOver)
			cancel(mine)
		}, mine, "mine"},
		{"the caller's cause, in a function's words", func(_ *world, g *lease.Group, cancel context.CancelCauseFunc) {
			g.Go(func(ctx context.Context) error { return fmt.Errorf("read: %w", untilOver(ctx)) })
			cancel(mine)
		}, mine, "read: context canceled: mine"},
		{"the caller's cause, before a permit came", func(w *world, g *lease.Group, cancel context.CancelCauseFunc) {
			m, _ := w.process("q")
			s := w.semaphore(m, 2)
			defer w.acquire(s).Release()
			defer w.acquire(s).Release()
			time.AfterFunc(time.Second, func() { cancel(mine) })
			g.Go(func(context.Context) error { w.Error("ran without a permit"); return nil })
		}, mine, ""},
		{"a function's timeout of its own", func(_ *world, g *lease.Group, _ context.CancelCauseFunc) {
			g.Go(func(ctx context.Context) error {
				ctx, cancel := context.WithTimeout(ctx, time.Second)
				defer cancel()
				return untilOver(ctx)
			})
		}, context.DeadlineExceeded, "context deadline exceeded"},
		{"Redis out of reach", func(w *world, g *lease.Group, _ context.CancelCauseFunc) {
			w.net.Host("p").Refuse()
			g.Go(func(context.Context) error { w.Error("ran without a permit"); return nil })
			w.net.Host("p").Heal()
		}, errRedisTrouble, ""},
		{"a nil function", func(_ *world, g *lease.Group, _ context.CancelCauseFunc) { g.Go(nil) }, lease.ErrOption, ""},
		{"a nil function to TryGo", func(_ *world, g *lease.Group, _ context.CancelCauseFunc) { g.TryGo(nil) }, lease.ErrOption, ""},
		{"nothing", func(_ *world, g *lease.Group, _ context.CancelCauseFunc) {
			g.Go(func(context.Context) error { return nil })
			g.Go(func(context.Context) error { runtime.Goexit(); return nil })
		}, nil, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inAnHour(t, func(w *world) {
				m, _ := w.process("p")
				ctx, cancel := context.WithCancelCause(context.Background())
				defer cancel(nil)
				g := w.semaphore(m, 2).Group(ctx)
				tc.run(w, g, cancel)
				err := g.Wait()
				var trouble *lease.RedisError
				if ok := errors.Is(err, tc.want) || tc.want == errRedisTrouble && errors.As(err, &trouble); !ok {
					w.Errorf("Wait returned %v, want %v", err, tc.want)
				}
				if tc.says != "" && err.Error() != tc.says {
					w.Errorf("Wait says %q, want %q", err, tc.says)
				}
				if again := g.Wait(); again != err {
					w.Errorf("the second Wait returned %v", again)
				}
				time.Sleep(worldTTL) // what a lost lease left in Redis
				if n := len(w.members()); n != 0 {
					w.Errorf("%d permits are left", n)
				}
			})
		})
	}
}

var errRedisTrouble = errors.New("a *RedisError")

func TestAGroupsFirstErrorEndsTheWaitOfTheNext(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		other, _ := w.process("q")
		g := w.semaphore(m, 2).Group(context.Background())
		defer w.acquire(w.semaphore(other, 2)).Release()
		mine := errors.New("mine")
		g.Go(func(context.Context) error { time.Sleep(time.Second); return mine })
		start := time.Now()
		g.Go(func(context.Context) error { w.Error("ran after the group's end"); return nil }) // waits
		if d := time.Since(start); d != time.Second {
			w.Errorf("Go returned after %v", d)
		}
		g.Go(func(context.Context) error { w.Error("ran after the group's end"); return nil })
		if err := g.Wait(); err != mine {
			w.Error(err)
		}
	})
}

func TestTryGoStartsNothingAtCapacity(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, host := w.process("p")
		g := w.semaphore(m, 2).Group(context.Background())
		over := make(chan bool)
		wait := func(context.Context) error { <-over; return nil }
		for range 2 {
			if !g.TryGo(wait) {
				w.Error("not started with permits free")
			}
		}
		if g.TryGo(wait) {
			w.Error("started at capacity")
		}
		close(over)
		synctest.Wait()
		if !g.TryGo(wait) {
			w.Error("not started after a permit came back")
		}
		if err := g.Wait(); err != nil {
			w.Errorf("Wait returned %v: being full is no error", err)
		}

		host.Refuse()
		g = w.semaphore(m, 2).Group(context.Background())
		if g.TryGo(wait) {
			w.Error("started without Redis")
		}
		var trouble *lease.RedisError
		if err := g.Wait(); !errors.As(err, &trouble) {
			w.Errorf("Wait returned %v, want the trouble with Redis", err)
		}
		host.Heal()
	})
}

func TestAGroupTakesTheOptionsOfAnAcquire(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 1)
		defer w.acquire(s).Release()
		g := s.Group(context.Background(), lease.MaxWait(time.Second))
		g.Go(func(context.Context) error { return nil })
		if err := g.Wait(); !errors.Is(err, lease.ErrAtCapacity) {
			w.Error(err)
		}
		var none context.Context
		g = s.Group(none)
		g.Go(func(context.Context) error { w.Error("ran"); return nil })
		mustRefuse(t, g.Wait(), "ctx", "nil")
	})
}
