package lease_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

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
			var queued queuedCallers
			for i := range 15 {
				queued.add(w, sems[(i*i+1)%3], i, 30*time.Millisecond)
			}
			_ = first.Release()
			queued.mustBeServedInOrder(w, 15)
		})
	})
	t.Run("a place survives the loss of the queue", func(t *testing.T) {
		inBubble(t, func(w *world) {
			a, _ := w.process("a")
			b, _ := w.process("b")
			sa, sb := w.semaphore(a, 1, noHandover), w.semaphore(b, 1, noHandover)
			first := w.acquire(sa)
			var queued queuedCallers
			for i := range 6 {
				queued.add(w, []*lease.Semaphore{sb, sa}[i%2], i, 30*time.Millisecond)
			}
			w.net.Look(func(r *miniredis.Miniredis) { r.Del("{passbuddy-gpu}:queue"); r.Del("{passbuddy-gpu}:alive") })
			time.Sleep(time.Second) // both have polled
			_ = first.Release()
			queued.mustBeServedInOrder(w, 6)
		})
	})
	t.Run("a heavy request is not starved", func(t *testing.T) {
		inBubble(t, func(w *world) {
			a, _ := w.process("a")
			b, _ := w.process("b")
			sa, sb := w.semaphore(a, 3, noHandover), w.semaphore(b, 3, noHandover)
			one, two := w.acquire(sa), w.acquire(sa)
			var queued queuedCallers
			queued.add(w, sb, 0, 30*time.Millisecond, lease.Weight(3))
			queued.add(w, sa, 1, 30*time.Millisecond) // there is a permit for it, and it waits
			queued.add(w, sb, 2, 30*time.Millisecond)
			if _, err := sa.TryAcquire(context.Background()); !errors.Is(err, lease.ErrAtCapacity) {
				w.Errorf("an attempt overtakes those who wait: %v", err)
			}
			_ = one.Release()
			_ = two.Release()
			queued.wg.Wait()
			if len(queued.served) != 3 || queued.served[0] != 0 {
				w.Errorf("served in the order %v", queued.served)
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
				var queued queuedCallers
				if dead == "behind the head" {
					queued.add(w, sa, 0, 30*time.Millisecond)
				}
				ctx, cancel := context.WithCancel(context.Background())
				defer cancel()
				go func() { _, _ = sb.Acquire(ctx) }()
				time.Sleep(20 * time.Millisecond)
				queued.add(w, sa, 1, 30*time.Millisecond)
				hostB.Kill()
				begin := time.Now()
				_ = first.Release()
				queued.wg.Wait()
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

// Waiters of several processes, in the order in which they asked, whatever process they are of.
func TestPromise8FirstComeFirstServedRealRedis(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	admin := server.Client(t)
	judge := newJudge(t)
	const processes = 6
	fleet := startFleet(t, processes, judge, "redis://"+server.Addr(), lease.Config{Name: "gpu", Capacity: 4, Handover: -1})
	fleet[0].must(order{Do: "hold", Key: "all", Weight: 4})
	var waiting []<-chan report
	of := func(i int) *member { return fleet[(i*5+i/processes)%processes] } // all of them, mixed
	for i := range 3 * processes {                                          // a process has as many in the queue as capacity, and one
		weight := 1
		if i >= 2*processes {
			weight = 1 + i%3 // heavy ones are each process's last: those before leave room for them to register
		}
		waiting = append(waiting, of(i).send(order{Do: "hold", Key: fmt.Sprint(i), Weight: weight}))
		mustQueue(t, admin, queueKey, int64(i+1))
	}
	fleet[0].must(order{Do: "release", Key: "all"})
	var last int64
	for i, w := range waiting { // whoever was served out of order has a larger token than one before
		a := of(i).await(w)
		if a.Err != "" {
			t.Fatalf("waiter %d: %s", i, a.Err)
		}
		if a.Token <= last {
			t.Errorf("waiter %d got token %d, the one before %d", i, a.Token, last)
		}
		last = a.Token
		of(i).must(order{Do: "release", Key: fmt.Sprint(i)})
	}
	mustBeClean(t, admin)
}
