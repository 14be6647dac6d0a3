package lease_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

func TestPromise11LimitsAreExplicit(t *testing.T) {
	ctx := context.Background()
	t.Run("an override wins for all and takes nothing away", func(t *testing.T) {
		inBubble(t, func(w *world) {
			a, _ := w.process("a")
			b, _ := w.process("b")
			sa, sb := w.semaphore(a, 1), w.semaphore(b, 1)
			first := w.acquire(sa)
			var queued queuedCallers
			queued.add(w, sb, 0, time.Second)
			begin := time.Now()
			if err := sa.Resize(ctx, 2); err != nil {
				w.Fatal(err)
			}
			queued.wg.Wait()
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
			var queued queuedCallers
			queued.add(w, s, 0, 0, lease.Weight(2))
			time.Sleep(3 * worldTTL)
			if len(queued.served) > 0 {
				w.Error("served while paused")
			}
			if _, err := s.TryAcquire(ctx); err == nil || !strings.Contains(err.Error(), "paused") {
				w.Errorf("an attempt while paused: %v", err)
			}
			begin := time.Now()
			if err := s.ResetCapacity(ctx); err != nil {
				w.Fatal(err)
			}
			queued.wg.Wait()
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

func TestPromise11LimitsAreExplicitRealRedis(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	admin := server.Client(t)
	ctx := context.Background()
	url := "redis://" + server.Addr()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	t.Run("an override outlasts a deploy", func(t *testing.T) {
		old, _ := openWith(t, url)
		s := gpu(t, old, lease.Config{Capacity: 1})
		must(realAcquire(t, s).Release())
		must(s.Resize(ctx, 3))
		must(old.Close())
		deployed, _ := openWith(t, url)
		s = gpu(t, deployed, lease.Config{Capacity: 2}) // declares another capacity
		var held []*lease.Lease
		for range 3 {
			l, err := s.TryAcquire(ctx)
			must(err)
			held = append(held, l)
		}
		_, err := s.TryAcquire(ctx)
		var full *lease.CapacityError
		if !errors.As(err, &full) || full.Capacity != 3 || full.Held != 3 {
			t.Errorf("the fourth got %v", err)
		}
		state, err := s.Inspect(ctx)
		must(err)
		if state.Capacity != 3 || !state.Resized || state.Declared != 2 {
			t.Errorf("%+v", state)
		}
		// What shrinks takes nothing away.
		must(s.Resize(ctx, 1))
		for i, l := range held {
			if !l.Valid() {
				t.Errorf("the capacity shrank, and a lease ended: %v", l.Err())
			}
			if i < 2 {
				must(l.Release())
				_, err := s.TryAcquire(ctx)
				if !errors.Is(err, lease.ErrAtCapacity) {
					t.Errorf("%d still held, capacity 1: %v", 2-i, err)
				}
			}
		}
		must(held[2].Release())
		l, err := s.TryAcquire(ctx)
		must(err)
		must(l.Release())
		must(s.ResetCapacity(ctx))
		state, err = s.Inspect(ctx)
		must(err)
		if state.Capacity != 2 || state.Resized {
			t.Errorf("%+v", state)
		}
		must(deployed.Close())
	})

	t.Run("a pause stops all and costs nobody its lease or its place", func(t *testing.T) {
		a, _ := openWith(t, url)
		b, _ := openWith(t, url)
		sa, sb := gpu(t, a, lease.Config{Capacity: 1, TTL: realTTL}), gpu(t, b, lease.Config{Capacity: 1, TTL: realTTL})
		l := realAcquire(t, sa)
		waiting := asking(t, sb)
		mustQueue(t, admin, queueKey, 1)
		must(sb.Pause(ctx))
		_, err := sb.TryAcquire(ctx)
		var full *lease.CapacityError
		if !errors.As(err, &full) || full.Capacity != 0 {
			t.Errorf("TryAcquire returned %v", err)
		}
		must(l.Release())
		polls := calls(t, admin, "evalsha")
		redistest.Eventually(t, "the waiter polls in vain", func(context.Context) error {
			if calls(t, admin, "evalsha") < polls+3 {
				return errors.New("no poll")
			}
			return nil
		})
		mustStillWait(t, "who waits for a paused semaphore", waiting)
		must(sa.ResetCapacity(ctx))
		must(mustBeServed(t, "who waited for a paused semaphore", waiting).lease.Release())
	})

	t.Run("processes that disagree are told once", func(t *testing.T) {
		admin.FlushAll(ctx)
		m1, log1 := openWith(t, url)
		m2, log2 := openWith(t, url)
		s1 := gpu(t, m1, lease.Config{Capacity: 1, TTL: 10 * time.Second})
		s2 := gpu(t, m2, lease.Config{Capacity: 2, TTL: 20 * time.Second})
		for range 5 {
			must(realAcquire(t, s1).Release())
			must(realAcquire(t, s2).Release())
		}
		state, err := s1.Inspect(ctx)
		must(err)
		if state.Declared != 1 || state.DeclaredTTL != 10*time.Second || state.OtherDeclared != 2 || state.OtherTTL != 20*time.Second {
			t.Errorf("%+v", state)
		}
		for _, log := range []*logBuffer{log1, log2} {
			redistest.Eventually(t, "the disagreement is said", func(context.Context) error {
				if n := strings.Count(log.String(), "another process declares other limits"); n != 1 {
					return fmt.Errorf("said %d times:\n%s", n, log)
				}
				return nil
			})
		}
		if !strings.Contains(log1.String(), "other_capacity=2") || !strings.Contains(log1.String(), "other_ttl=20s") {
			t.Errorf("logged %s", log1)
		}
	})

	t.Run("a request that a smaller capacity makes impossible is refused", func(t *testing.T) {
		m1, _ := openWith(t, url)
		m2, _ := openWith(t, url)
		s1, s2 := gpu(t, m1, lease.Config{Capacity: 3}), gpu(t, m2, lease.Config{Capacity: 3})
		l := realAcquire(t, s1)
		heavy := asking(t, s2, lease.Weight(3))
		mustQueue(t, admin, queueKey, 1)
		must(s1.Resize(ctx, 2))
		if g := <-heavy; !errors.Is(g.err, lease.ErrOption) {
			t.Errorf("the heavy one got %v", g.err)
		}
		must(l.Release())
		must(s1.ResetCapacity(ctx))
	})
	mustBeClean(t, admin)
}
