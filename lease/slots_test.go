package lease_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// Numbers of permits: Config.Slots.

func withSlots(c *lease.Config) { c.Slots = true }

func (w *world) mustHaveSlots(who string, l *lease.Lease, want ...int) {
	w.Helper()
	if got := l.Slots(); !slices.Equal(got, want) {
		w.Errorf("%s has the slots %v, want %v", who, got, want)
	}
}

func TestSlotsAreNobodyElses(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: time.Millisecond})
		a, host := w.process("a")
		b, _ := w.process("b")
		s, other := w.semaphore(a, 4, withSlots, noHandover), w.semaphore(b, 4, withSlots, noHandover)
		first, heavy := w.acquire(s), w.acquire(other, lease.Weight(2))
		w.mustHaveSlots("the first", first, 0)
		w.mustHaveSlots("the heavy one", heavy, 1, 2)
		slots := heavy.Slots()
		slots[0] = 77 // the caller's own copy
		w.mustHaveSlots("the heavy one", heavy, 1, 2)
		last := w.acquire(s)
		w.mustHaveSlots("the last", last, 3)

		waits := asking(w, other) // is told by a notification
		time.Sleep(100 * time.Millisecond)
		w.release(first)
		next := mustBeServed(w, "a caller of the other process", waits)
		w.mustHaveSlots("who was told", next.lease, 0)

		state, err := s.Inspect(context.Background())
		if err != nil {
			w.Fatal(err)
		}
		for _, h := range state.Holders {
			if want := map[string][]int{heavy.ID(): {1, 2}, last.ID(): {3}, next.lease.ID(): {0}}[h.ID]; !slices.Equal(h.Slots, want) {
				w.Errorf("Inspect says that %s has the slots %v, want %v", h.ID, h.Slots, want)
			}
		}

		host.Kill() // and with it its permit, when its TTL is over
		waits = asking(w, other)
		w.mustHaveSlots("who comes after a crash", mustBeServed(w, "the caller after a crash", waits).lease, 3)
		w.release(heavy)
		w.mustHaveSlots("who comes after a release", w.acquire(other), 1)
	})
}

func TestSlotsPassWithTheirPermitInsideAProcess(t *testing.T) {
	for name, change := range map[string]func(*lease.Config){"Handover": func(c *lease.Config) { c.Handover = time.Hour }, "Linger": lingering} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.net.SetFaults(sim.Faults{Latency: time.Millisecond})
				m, _ := w.process("a")
				s := w.semaphore(m, 2, withSlots, change)
				zero, one := w.acquire(s), w.acquire(s)
				w.mustHaveSlots("the first", zero, 0)
				w.mustHaveSlots("the second", one, 1)
				for range 5 {
					var next *lease.Lease
					if name == "Linger" {
						w.release(one)
						next = w.acquire(s)
					} else {
						waits := asking(w, s)
						time.Sleep(10 * time.Millisecond)
						w.release(one)
						next = mustBeServed(w, "the next", waits).lease
					}
					if next.ID() != one.ID() {
						w.Error("the permit did not pass inside the process")
					}
					w.mustHaveSlots("the next", next, 1)
					one = next
				}
			})
		})
	}
}

// A process that does not set Slots gives permits without numbers. Who wants a number asks again.
func TestSlotsBesideAProcessThatDoesNotSetThem(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: time.Millisecond})
		a, _ := w.process("a")
		b, _ := w.process("b")
		s, plain := w.semaphore(a, 1, withSlots), w.semaphore(b, 1)
		l := w.acquire(plain)
		w.mustHaveSlots("who does not ask for slots", l)
		for range 3 {
			waits := asking(w, s)
			time.Sleep(20 * time.Millisecond)
			start := time.Now()
			w.release(l)
			g := mustBeServed(w, "who wants a slot", waits)
			w.mustHaveSlots("who wants a slot", g.lease, 0)
			if waited := g.at.Sub(start); waited > 20*time.Millisecond {
				w.Errorf("it waited %v after the release", waited)
			}
			waits = asking(w, plain)
			time.Sleep(20 * time.Millisecond)
			w.release(g.lease)
			l = mustBeServed(w, "who does not", waits).lease
		}
		w.release(l)
		if said := strings.Count(w.log.String(), "does not set Slots"); said != 1 {
			w.Errorf("the log says %d times that another process does not set Slots", said)
		}
	})
}

// A handle with Slots beside one without, in one process: what the one without left behind is not passed on.
func TestSlotsOfANewHandle(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("a")
		long := func(c *lease.Config) { c.Handover = time.Hour }
		plain := w.semaphore(m, 1, long)
		l := w.acquire(plain)
		s := w.semaphore(m, 1, withSlots, long)
		waits := asking(w, s)
		time.Sleep(10 * time.Millisecond)
		w.release(l)
		got := mustBeServed(w, "who wants a slot", waits).lease
		w.mustHaveSlots("who wants a slot", got, 0)
		w.release(got)
	})
}

// An older handle that is used after a newer one has what it asks for.
func TestSlotsAndReplicasOfAnOldHandle(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.SetReplicas(1, 0)
		m, _ := w.process("a")
		long := func(c *lease.Config) { c.Handover, c.Linger = time.Hour, worldTTL/2 }
		numbered, careful, plain := w.semaphore(m, 1, withSlots, long), w.semaphore(m, 1, replicated(1), long), w.semaphore(m, 1, long)
		w.release(w.acquire(plain)) // lingers, without a slot and without a replica
		l := w.acquire(numbered)
		w.mustHaveSlots("an older handle's", l, 0)
		w.release(l)
		_, err := careful.Acquire(context.Background())
		w.mustLackReplicas("an older handle's acquire", err, 0, 1)
		l = w.acquire(plain)
		waits := asking(w, careful)
		time.Sleep(10 * time.Millisecond)
		w.release(l)
		w.mustLackReplicas("an older handle's waiter", (<-waits).err, 0, 1)
		w.release(w.acquire(plain)) // who wants no replica needs none
		w.net.SetReplicas(1, 1)
		w.release(w.acquire(careful))
	})
}

// A process without Slots takes no numbers from one that has them.
func TestSlotsOfAnotherProcessAreNoLoss(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: time.Millisecond})
		a, _ := w.process("a")
		b, _ := w.process("b")
		s, plain := w.semaphore(a, 1, withSlots), w.semaphore(b, 1, lingering)
		l := w.acquire(s)
		waits := asking(w, plain)
		time.Sleep(20 * time.Millisecond)
		w.release(l)
		l = mustBeServed(w, "who does not set Slots", waits).lease
		w.mustHaveSlots("who does not set Slots", l)
		for range 20 {
			time.Sleep(linger / 2)
			w.mustHold(l)
			w.release(l)
			l = w.acquire(plain)
		}
		w.release(l)
	})
}

// Redis keeps which slots there are for a day after the latest grant.
func TestSlotsOfALeaseThatIsHeldForDays(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.ExpireKeys(time.Minute)
		long := func(c *lease.Config) { c.TTL = time.Hour }
		a, _ := w.process("a")
		b, _ := w.process("b")
		s, other := w.semaphore(a, 2, withSlots, long), w.semaphore(b, 2, withSlots, long)
		l := w.acquire(s)
		w.mustHaveSlots("the first", l, 0)
		time.Sleep(60 * time.Hour)
		w.mustHold(l)
		w.mustHaveSlots("who comes days later", w.acquire(other), 1)
		w.net.Look(func(r *miniredis.Miniredis) {
			if left := r.TTL("{passbuddy-gpu}:slots"); left < 16*time.Hour || left > 25*time.Hour {
				w.Errorf("the slots live for %v more", left)
			}
		})
	})
}

func TestSlotsNeedASmallCapacity(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("a")
		_, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 1001, Slots: true})
		var bad *lease.OptionError
		if !errors.As(err, &bad) || bad.Option != "Config.Capacity" || !strings.Contains(err.Error(), "1000 with Slots") {
			w.Errorf("%v", err)
		}
		if _, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 1000, Slots: true}); err != nil {
			w.Error(err)
		}
	})
}

func TestRealRedisSlotsAreNobodyElses(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	const capacity, rounds = 4, 100
	var mu sync.Mutex
	taken := map[int]string{}
	served := make([]int, capacity)
	var all sync.WaitGroup
	for p := range 3 {
		m, _ := openWith(t, "redis://"+server.Addr())
		linger := time.Duration(p) * 5 * time.Millisecond
		s := gpu(t, m, lease.Config{Capacity: capacity, Slots: true, Linger: linger})
		for worker := range 3 {
			all.Go(func() {
				for range rounds {
					l := realAcquire(t, s, lease.Weight(1+worker/2))
					mu.Lock()
					for _, slot := range l.Slots() {
						if slot >= capacity || taken[slot] != "" {
							t.Errorf("%s has slot %d, and so has %q", l.ID(), slot, taken[slot])
							continue
						}
						taken[slot] = l.ID()
						served[slot]++
					}
					mu.Unlock()
					mu.Lock()
					for _, slot := range l.Slots() {
						taken[slot] = ""
					}
					mu.Unlock()
					if err := l.Release(); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	if total := served[0] + served[1] + served[2] + served[3]; total != 3*rounds*4 || slices.Contains(served, 0) {
		t.Errorf("the slots were given %v times", served)
	}
}
