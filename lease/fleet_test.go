package lease_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// Several processes of the operating system on one real Redis.

// jain is the fairness of shares, from 1/n to 1 (Jain, Chiu, Hawe: A Quantitative Measure of Fairness, 1984).
func jain(shares []int) float64 {
	var sum, squares float64
	for _, n := range shares {
		sum += float64(n)
		squares += float64(n) * float64(n)
	}
	return sum * sum / (float64(len(shares)) * squares)
}

// mustBeClean fails the test when a permit or a waiter of the semaphore is left over.
func mustBeClean(t *testing.T, admin redis.UniversalClient) {
	t.Helper()
	for _, key := range []string{"passbuddy-gpu", "{passbuddy-gpu}:queue"} {
		if left := admin.ZRange(context.Background(), key, 0, -1).Val(); len(left) > 0 {
			t.Errorf("left over in %s: %q", key, left)
		}
	}
}

var sizes = []struct{ processes, callers int }{{4, 16}, {16, 4}}

func TestFleetSharesOnePermitFairlyAndCheaply(t *testing.T) {
	for _, size := range sizes {
		for _, section := range []time.Duration{0, time.Millisecond} {
			t.Run(fmt.Sprintf("%d×%d/%v", size.processes, size.callers, section), func(t *testing.T) {
				server := redistest.Start(t)
				admin := server.Client(t)
				judge := newJudge(t)
				fleet := startFleet(t, size.processes, judge, "redis://"+server.Addr(), lease.Config{Name: "gpu", Capacity: 1})
				before, start := commands(t, admin), time.Now()
				var working []<-chan report
				for _, p := range fleet {
					working = append(working, p.send(order{Do: "work", Callers: size.callers, Section: section}))
				}
				time.Sleep(2 * time.Second) // they work
				for _, p := range fleet {
					p.must(order{Do: "stop"})
				}
				var shares []int
				for i, p := range fleet {
					shares = append(shares, p.mustHaveWorked(working[i]).Served...)
				}
				took := time.Since(start)
				each := float64(commands(t, admin)-before) / float64(judge.served())
				slices.Sort(shares)
				t.Logf("%d acquires in %v: Jain index %.4f (least %d, most %d), %.3f commands per acquire",
					judge.served(), took.Round(time.Millisecond), jain(shares), shares[0], shares[len(shares)-1], each)
				if j := jain(shares); j < 0.99 {
					t.Errorf("Jain index %.4f, want 0.99 at least; shares %v", j, shares)
				}
				if each > 5 {
					t.Errorf("%.2f commands per acquire, want 5 at most", each)
				}
				if judge.most() > 1 {
					t.Errorf("%d at a time, capacity 1", judge.most())
				}
				mustBeClean(t, admin)
			})
		}
	}
}

// Half of the processes die in the middle of it, wherever they are: the others go on, and none of them is stuck
// behind the dead, who hold permits and stand in the queue.
func TestFleetOutlivesProcessesThatAreKilled(t *testing.T) {
	const capacity = 3
	for _, size := range sizes {
		t.Run(fmt.Sprintf("%d×%d", size.processes, size.callers), func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			judge := newJudge(t)
			fleet := startFleet(t, size.processes, judge, "redis://"+server.Addr(),
				lease.Config{Name: "gpu", Capacity: capacity, TTL: 3 * time.Second})
			var working []<-chan report
			for _, p := range fleet {
				working = append(working, p.send(order{Do: "work", Callers: size.callers, Section: time.Millisecond}))
			}
			mid := 200
			redistest.Eventually(t, "they work", func(context.Context) error { return judge.mustHaveServed(mid) })
			// Two at a time, between which the others come to hold and to wait.
			var killers sync.WaitGroup
			for i := 0; i < len(fleet)/2; i += 2 {
				for _, p := range fleet[i : i+2] {
					killers.Go(p.kill)
				}
				killers.Wait()
				mid = judge.served() + 20
				redistest.Eventually(t, "the others go on", func(context.Context) error { return judge.mustHaveServed(mid) })
			}
			for i, p := range fleet[len(fleet)/2:] {
				// Each caller once more at least: whoever is stuck never gets there.
				p.must(order{Do: "work", Callers: size.callers, Each: 5, Section: time.Millisecond})
				p.must(order{Do: "stop"})
				for caller, n := range p.mustHaveWorked(working[len(fleet)/2+i]).Served {
					if n == 0 {
						t.Errorf("caller %d of process %d was never served", caller, p.slot)
					}
				}
			}
			if judge.most() > capacity {
				t.Errorf("%d at a time, capacity %d", judge.most(), capacity)
			}
			admin := server.Client(t)
			redistest.Eventually(t, "the dead's permits have expired", func(context.Context) error {
				return gone(admin, "passbuddy-gpu")
			})
			t.Logf("%d acquires, %d at a time at most", judge.served(), judge.most())
		})
	}
}

// One process has more callers than it could ever serve, and they ask again at once; the other has one. A
// permit that Redis gave passes inside the greedy process for a while, and then it is the other's turn: not
// after two.
func TestFleetServesAModestProcessBesideAGreedyOne(t *testing.T) {
	for _, greed := range []int{1, 2, 32} {
		t.Run(fmt.Sprint(greed), func(t *testing.T) {
			server := redistest.Start(t)
			judge := newJudge(t)
			fleet := startFleet(t, 2, judge, "redis://"+server.Addr(), lease.Config{Name: "gpu", Capacity: 1})
			greedy, modest := fleet[0], fleet[1]
			working := greedy.send(order{Do: "work", Callers: greed})
			redistest.Eventually(t, "it is busy", func(context.Context) error { return judge.mustHaveServed(50) })
			before := judge.turns(greedy.slot)
			const times = 100
			a := modest.must(order{Do: "work", Callers: 1, Each: times})
			turns := judge.turns(greedy.slot) - before
			greedy.must(order{Do: "stop"})
			greedy.mustHaveWorked(working)
			t.Logf("the modest one was served %d times, while Redis gave the greedy one %d turns", a.Served[0], turns)
			if turns > 2*times+2 {
				t.Errorf("Redis gave the greedy process %d turns, while the modest one had %d", turns, times)
			}
			if judge.most() > 1 {
				t.Errorf("%d at a time, capacity 1", judge.most())
			}
			mustBeClean(t, server.Client(t))
		})
	}
}
