package lease_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// A freed permit leads to one notification, to the process that it was given to; what that costs does not grow with the
// number of waiters.
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
				if want := []string{"holder zrem", "holder evalsha"}; !slices.Equal(talk, want) { // one round trip
					w.Errorf("a hand-over took %v; want the release alone, %v", talk, want)
				}
				mu.Unlock()
				end()
				synctest.Wait()
			})
		})
	}
}

// What an acquire costs Redis does not depend on how many wait, and one permit leads to one notification.
func TestPromise9NoHerdRealRedis(t *testing.T) {
	inRealTime(t)
	cost := func(processes int) (perAcquire, perGrant float64) {
		server := redistest.Start(t)
		admin := server.Client(t)
		p := &deployment{url: "redis://" + server.Addr()}
		defer p.close()
		cfg := lease.Config{Name: "gpu", Capacity: 1, TTL: time.Minute, RetryInterval: 20 * time.Second, Handover: -1}
		const callers, each = 2, 40
		start := make(chan struct{})
		var all sync.WaitGroup
		l := realAcquire(t, p.use(t, 0, cfg))
		for i := range processes {
			s := p.use(t, i, cfg)
			for range callers {
				all.Go(func() {
					for range each {
						l, err := s.Acquire(t.Context())
						if err != nil {
							t.Error(err)
							return
						}
						<-start
						if err := l.Release(); err != nil {
							t.Error(err)
						}
					}
				})
			}
		}
		mustQueue(t, admin, queueKey, int64(callers*processes))
		mustHaveInboxes(t, admin, processes)
		before, published := commands(t, admin), calls(t, admin, "publish")
		close(start)
		if err := l.Release(); err != nil {
			t.Error(err)
		}
		all.Wait()
		n := float64(callers * each * processes)
		return float64(commands(t, admin)-before) / n, float64(calls(t, admin, "publish")-published) / n
	}
	few, fewPublished := cost(4)
	many, manyPublished := cost(32)
	t.Logf("per acquire: 4 processes %.1f commands and %.2f notifications, 32 processes %.1f and %.2f", few, fewPublished, many, manyPublished)
	if many > 1.25*few {
		t.Errorf("%.1f commands per acquire with 4 processes, %.1f with 32", few, many)
	}
	if manyPublished > 1 {
		t.Errorf("%.2f notifications per acquire", manyPublished)
	}
}
