package lease_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// An NTP client sets the server's clock ahead, while a process holds leases of many names.
func TestASmallStepOfTheServersClockCostsNoneOfManyLeases(t *testing.T) {
	for _, tc := range []struct {
		names int
		step  time.Duration
	}{{2000, 10 * time.Millisecond}, {50, 500 * time.Millisecond}, {200, 100 * time.Millisecond}} {
		if testing.Short() && tc.names > 1000 {
			continue // a second
		}
		t.Run(fmt.Sprintf("%d names, %v", tc.names, tc.step), func(t *testing.T) {
			inBubble(t, func(w *world) {
				m, _ := w.process("p")
				const ttl = 15 * time.Second
				var all sync.WaitGroup
				leases := make([]*lease.Lease, tc.names)
				for i := range leases {
					all.Go(func() {
						s := w.semaphore(m, 1, func(c *lease.Config) { c.Name, c.TTL = fmt.Sprint("s", i), ttl })
						leases[i] = w.acquire(s)
					})
				}
				all.Wait()
				var commands atomic.Int64
				w.net.OnCommand(func(string, time.Time, []string) { commands.Add(1) })
				time.Sleep(ttl)
				quiet := commands.Load()
				for i := range 2 {
					w.net.SetClockOffset(time.Duration(i+1) * tc.step)
					time.Sleep(ttl)
				}
				lost := 0
				for _, l := range leases {
					if !l.Valid() {
						lost++
					}
				}
				if lost > 0 {
					t.Errorf("%d of %d leases were lost", lost, tc.names)
				}
				if stepped := (commands.Load() - quiet) / 2; stepped > quiet+2*int64(tc.names) {
					t.Errorf("%d commands in a TTL with a step, %d in one without", stepped, quiet)
				}
				for _, l := range leases {
					all.Go(func() { l.Release() })
				}
				all.Wait()
			})
		})
	}
}

// What this process knew of the server's clock is of no use any more; the answer says so.
func TestTheFirstAcquireAfterAStepOfTheServersClockTakesOneRetry(t *testing.T) {
	for _, ttl := range []time.Duration{time.Hour, 24 * time.Hour} {
		for _, once := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, once: %v", ttl, once), func(t *testing.T) {
				inBubble(t, func(w *world) {
					m, _ := w.process("p")
					s := w.semaphore(m, 1, func(c *lease.Config) { c.TTL = ttl })
					w.acquire(s).Release()
					w.net.SetClockOffset(10 * time.Minute)
					began := time.Now()
					if once {
						w.acquire(s, lease.MaxWait(-1)).Release()
					} else {
						w.acquire(s).Release()
					}
					if took := time.Since(began); took > time.Second {
						t.Errorf("it took %v", took)
					}
				})
			})
		}
	}
}

// The holder has renewed since the step: its permit ends as if there had been none.
func TestAHolderThatCrashesAfterAStepBackOfTheServersClockBlocksForOneTTL(t *testing.T) {
	inBubble(t, func(w *world) {
		m, host := w.process("p")
		other, _ := w.process("q")
		l := w.acquire(w.semaphore(m, 1))
		time.Sleep(worldTTL)
		w.net.SetClockOffset(-time.Hour)
		time.Sleep(10 * time.Minute)
		w.mustHold(l)
		host.Partition()
		began := time.Now()
		next := w.acquire(w.semaphore(other, 1))
		if took := time.Since(began); took > 2*worldTTL {
			t.Errorf("its permit was free after %v, TTL %v", took, worldTTL)
		}
		if l.Valid() {
			t.Error("both hold it")
		}
		next.Release()
	})
}

// The dead have neither renewed nor polled since the step: the expiries that they left lie an hour ahead, and a script
// lowers them.
func TestAProcessThatDiesAtAStepBackOfTheServersClockBlocksForTwoTTLs(t *testing.T) {
	t.Run("a holder", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, host := w.process("p")
			other, _ := w.process("q")
			w.acquire(w.semaphore(m, 1))
			time.Sleep(worldTTL)
			host.Partition()
			w.net.SetClockOffset(-time.Hour)
			began := time.Now()
			next := w.acquire(w.semaphore(other, 1))
			if took := time.Since(began); took > 2*worldTTL {
				t.Errorf("its permit was free after %v, TTL %v", took, worldTTL)
			}
			next.Release()
		})
	})
	t.Run("two waiters", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, _ := w.process("p")
			l := w.acquire(w.semaphore(m, 1))
			for _, name := range []string{"q", "r"} {
				dead, host := w.process(name)
				go func() { _, _ = w.semaphore(dead, 1).Acquire(w.Context()) }()
				time.Sleep(time.Second)
				host.Partition()
			}
			w.net.SetClockOffset(-time.Hour)
			l.Release()
			last, _ := w.process("s")
			began := time.Now()
			next := w.acquire(w.semaphore(last, 1))
			if took := time.Since(began); took > 2*worldTTL {
				t.Errorf("it took %v, TTL %v", took, worldTTL)
			}
			next.Release()
		})
	})
}

// A renewal is given up, its successor runs, and then the clock steps ahead and the renewal runs after all. Its answer
// shows the step. The process cannot know which of the two ran first: it asks again at once, and does not wait for the
// next renewal.
func TestAStepThatALateAnswerShowsIsLookedFor(t *testing.T) {
	inBubble(t, func(w *world) {
		m, host := w.process("p")
		s := w.semaphore(m, 2)
		w.acquire(s)
		host.SetFaults(sim.Faults{Latency: worldTTL / 6})
		time.Sleep(worldTTL/3 - worldTTL/60) // the renewal is on its way, for longer than an attempt may take
		host.SetFaults(sim.Faults{})
		renewed := make(chan struct{})
		var once sync.Once
		w.net.OnCommand(func(_ string, _ time.Time, cmd []string) {
			if cmd[0] == "eval" { // nobody has renewed before, so that the successor brings the script
				once.Do(func() { close(renewed) })
			}
		})
		<-renewed
		l := w.acquire(s)
		w.net.SetClockOffset(time.Hour)
		w.mustHold(l)
		time.Sleep(worldTTL / 4) // the answer takes as long as the renewal did; the next one is due later
		if l.Valid() {
			t.Errorf("the lease is still trusted for %v", time.Until(l.TrustedUntil()))
		}
	})
}
