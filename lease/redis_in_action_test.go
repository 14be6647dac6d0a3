package lease_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// Redis in Action, section 6.3, builds a counting semaphore in four steps. Each of its properties has a
// test here.

// 6.3.1, a basic semaphore: at most so many holders; a release makes room, and so does the death of a
// holder, after its time is up.
func TestRedisInActionBasicSemaphore(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p")
		dying, host := w.process("q")
		s := w.semaphore(m, 3)
		first, second := w.acquire(s), w.acquire(s)
		w.acquire(w.semaphore(dying, 3))
		full := func() {
			w.Helper()
			if _, err := s.TryAcquire(context.Background()); !errors.Is(err, lease.ErrAtCapacity) {
				w.Errorf("a fourth holder: %v", err)
			}
		}
		full()
		if err := first.Release(); err != nil {
			w.Error(err)
		}
		third := w.acquire(s)
		full()
		host.Kill()
		full()
		time.Sleep(worldTTL)
		l, err := s.TryAcquire(context.Background())
		if err != nil {
			w.Fatalf("the dead holder still counts: %v", err)
		}
		full()
		for _, l := range []*lease.Lease{second, third, l} {
			w.mustHold(l)
			_ = l.Release()
		}
	})
}

// A skewed clock shows another time than the others of the fleet.
type skewed struct {
	clock.Clock
	by time.Duration
}

func (c skewed) Now() time.Time { return c.Clock.Now().Add(c.by) }

// 6.3.2, a fair semaphore: a holder keeps its permit, whatever the clocks of the others say. In the basic
// one of the book, a process with a slow clock steals from one with a fast clock.
func TestRedisInActionFairSemaphoreNoClockSteals(t *testing.T) {
	inBubble(t, func(w *world) {
		var semaphores []*lease.Semaphore
		for i, by := range []time.Duration{-time.Hour, -10 * time.Millisecond, 0, 10 * time.Millisecond, time.Hour} {
			m, _ := w.process(fmt.Sprintf("p%d", i), func(_ *redis.Options, o *lease.Options) { o.Clock = skewed{clock.New(), by} })
			semaphores = append(semaphores, w.semaphore(m, 1))
		}
		for _, s := range semaphores {
			l := w.acquire(s)
			for range 3 {
				for _, other := range semaphores {
					if _, err := other.TryAcquire(context.Background()); !errors.Is(err, lease.ErrAtCapacity) {
						w.Errorf("a clock stole the permit: %v", err)
					}
				}
				time.Sleep(worldTTL / 2)
				w.mustHold(l)
			}
			_ = l.Release()
		}
	})
}

// 6.3.2, a fair semaphore: those who wait, in any process, are served in the order in which they came.
func TestRedisInActionFairSemaphoreFirstComeFirstServed(t *testing.T) {
	inBubble(t, func(w *world) {
		holder, _ := w.process("holder")
		l := w.acquire(w.semaphore(holder, 1, noHandover))
		var semaphores []*lease.Semaphore
		for i := range 5 {
			m, _ := w.process(fmt.Sprintf("p%d", i))
			semaphores = append(semaphores, w.semaphore(m, 1, noHandover))
		}
		const waiters = 20
		served := make(chan int, waiters)
		var want []int
		for i := range waiters {
			want = append(want, i)
			go func() {
				l, err := semaphores[i*3%len(semaphores)].Acquire(context.Background())
				if err != nil {
					w.Error(err)
					return
				}
				served <- i
				time.Sleep(time.Millisecond)
				_ = l.Release()
			}()
			time.Sleep(time.Millisecond)
		}
		_ = l.Release()
		var got []int
		for range waiters {
			got = append(got, <-served)
		}
		if !slices.Equal(got, want) {
			w.Errorf("served in the order %v", got)
		}
	})
}

// 6.3.3, refreshing: a holder may keep its permit for as long as it wants to, and learns when it has
// lost it; refreshing brings nothing back.
func TestRedisInActionRefreshing(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p")
		other, _ := w.process("q")
		p := w.semaphore(m, 1).Permit()
		ctx, done := w.use(p, context.Background())
		defer done()
		s := w.semaphore(other, 1)
		for range 10 {
			time.Sleep(worldTTL)
			if _, err := s.TryAcquire(context.Background()); !errors.Is(err, lease.ErrAtCapacity) {
				w.Errorf("the permit was not refreshed: %v", err)
			}
		}
		if ctx.Err() != nil {
			w.Fatal(context.Cause(ctx))
		}
		w.net.Server().FlushAll()
		l := w.acquire(s) // somebody else's now
		impatient, cancel := context.WithTimeout(context.Background(), worldTTL)
		defer cancel()
		if err := p.Acquire(impatient); !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("refreshing a lost permit: %v", err)
		}
		if !errors.Is(context.Cause(ctx), lease.ErrLost) {
			w.Errorf("the holder was told %v", context.Cause(ctx))
		}
		w.mustHold(l)
		_ = l.Release()
	})
}

// 6.3.4, no races: of many who ask at the same time, exactly as many get a permit as there are. None is
// given twice, and none stays free because those who asked got in each other's way.
func TestRedisInActionNoRaces(t *testing.T) {
	const processes, callers, capacity = 10, 5, 7
	inBubble(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: time.Millisecond, Jitter: 2 * time.Millisecond})
		var semaphores []*lease.Semaphore
		for i := range processes {
			m, _ := w.process(fmt.Sprintf("p%d", i))
			semaphores = append(semaphores, w.semaphore(m, capacity))
		}
		for range 20 {
			var got atomic.Int64
			release := make(chan bool)
			var asked, all sync.WaitGroup
			for _, s := range semaphores {
				for range callers {
					asked.Add(1)
					all.Go(func() {
						l, err := s.TryAcquire(context.Background())
						asked.Done()
						if err != nil {
							if !errors.Is(err, lease.ErrAtCapacity) {
								w.Error(err)
							}
							return
						}
						got.Add(1)
						<-release
						if err := l.Release(); err != nil {
							w.Error(err)
						}
					})
				}
			}
			asked.Wait()
			if n := got.Load(); n != capacity {
				w.Errorf("%d of %d got a permit, want %d", n, processes*callers, capacity)
			}
			close(release)
			all.Wait()
		}
	})
}
