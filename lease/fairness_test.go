package lease_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/sim"
)

// In virtual time no caller is kept from running: whoever gets less was given less. What
// TestFleetSharesOnePermitFairlyAndCheaply finds on a real machine depends on its scheduler too.
func TestCallersOfManyProcessesGetEqualShares(t *testing.T) {
	for _, size := range sizes {
		for _, section := range []time.Duration{50 * time.Microsecond, time.Millisecond} {
			t.Run(fmt.Sprintf("%d×%d/%v", size.processes, size.callers, section), func(t *testing.T) {
				inBubble(t, func(w *world) {
					w.net.SetFaults(sim.Faults{Latency: 100 * time.Microsecond})
					rounds := 20
					if section >= time.Millisecond { // few callers have their turn in a process's turn
						rounds = 60
					}
					var (
						working sync.WaitGroup
						stopped atomic.Bool
						grants  atomic.Int64
						served  = make([][]int, size.processes)
						turns   = make([]int, size.processes)
					)
					for i := range size.processes {
						m, _ := w.process(fmt.Sprintf("p%d", i))
						s := w.semaphore(m, 1)
						served[i] = make([]int, size.callers)
						latest := int64(0) // of this process, read and written with the permit in hand
						for caller := range size.callers {
							working.Go(func() {
								for !stopped.Load() {
									l, err := s.Acquire(context.Background())
									if err != nil {
										w.Error(err)
										return
									}
									if grant := l.Token() / 1000; grant != latest { // hand-overs count up from the grant's token
										latest = grant
										turns[i]++
										if grants.Add(1) == int64(rounds*size.processes) {
											stopped.Store(true)
										}
									}
									served[i][caller]++
									time.Sleep(section)
									if err := l.Release(); err != nil {
										w.Error(err)
									}
								}
							})
						}
					}
					working.Wait()
					all, inside := slices.Concat(served...), 1.0
					for _, shares := range served {
						inside = min(inside, jain(shares))
					}
					t.Logf("Jain index of callers %.4f (%d to %d), inside a process %.4f, of processes' turns %.4f (%d to %d)",
						jain(all), slices.Min(all), slices.Max(all), inside, jain(turns), slices.Min(turns), slices.Max(turns))
					if jain(all) < 0.99 || inside < 0.99 || jain(turns) < 0.99 {
						t.Errorf("unfair: callers had %v, processes %v turns", served, turns)
					}
				})
			})
		}
	}
}
