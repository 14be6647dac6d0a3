package leasetest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

func semaphore(t *testing.T, m interface {
	Semaphore(lease.Config) (*lease.Semaphore, error)
}, cfg lease.Config) *lease.Semaphore {
	t.Helper()
	cfg.Name, cfg.Capacity = "gpu", 1
	s, err := m.Semaphore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func acquire(t *testing.T, s *lease.Semaphore) *lease.Lease {
	t.Helper()
	l, err := s.Acquire(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// A user's test: MaxHold is over after a day, and the test takes no time.
func TestMaxHoldEndsALeaseAfterADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := acquire(t, semaphore(t, leasetest.New(t), lease.Config{MaxHold: 24 * time.Hour, TTL: 10 * time.Minute}))
		start := time.Now()
		<-l.Context().Done()
		if held := time.Since(start); held.Round(time.Second) != 24*time.Hour || !errors.Is(l.Err(), lease.ErrMaxHold) {
			t.Errorf("held for %v: %v", held, l.Err())
		}
		_ = l.Release()
	})
}

// A user's test: who waits gives up after a minute.
func TestAWaiterGivesUpAfterMaxWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := leasetest.NewFleet(t)
		holder, waiter := f.Process("holder", lease.Options{}), f.Process("waiter", lease.Options{})
		l := acquire(t, semaphore(t, holder, lease.Config{}))
		start := time.Now()
		_, err := semaphore(t, waiter, lease.Config{MaxWait: time.Minute}).Acquire(context.Background())
		if waited := time.Since(start); waited != time.Minute || !errors.Is(err, lease.ErrAtCapacity) {
			t.Errorf("gave up after %v: %v", waited, err)
		}
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	})
}

// A user's test: the process is partitioned, and its work stops before another process gets the permit.
func TestWorkStopsBeforeAnotherProcessBegins(t *testing.T) {
	for name, strike := range map[string]func(*leasetest.Fleet, *leasetest.Process){
		"a partition": func(_ *leasetest.Fleet, p *leasetest.Process) { p.Partition() },
		"a crash":     func(_ *leasetest.Fleet, p *leasetest.Process) { p.Crash() },
		"a stall":     func(f *leasetest.Fleet, _ *leasetest.Process) { f.Stall(); time.AfterFunc(20*time.Second, f.Resume) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := leasetest.NewFleet(t)
				first, second := f.Process("first", lease.Options{}), f.Process("second", lease.Options{})
				l := acquire(t, semaphore(t, first, lease.Config{}))
				waiting := make(chan *lease.Lease)
				go func() { waiting <- acquire(t, semaphore(t, second, lease.Config{})) }()
				time.Sleep(time.Minute) // the first is renewed, the second waits
				strike(f, first)
				next := <-waiting
				if l.Context().Err() == nil || !errors.Is(l.Err(), lease.ErrLost) {
					t.Errorf("both work: %v", l.Err())
				}
				first.Heal()
				_ = next.Release()
			})
		})
	}
}

func TestARestartThatKeepsTheDataCostsNoLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := leasetest.NewFleet(t)
		l := acquire(t, semaphore(t, f.Process("p", lease.Options{}), lease.Config{}))
		f.Restart(true)
		time.Sleep(time.Minute)
		if !l.Valid() {
			t.Errorf("lost: %v", l.Err())
		}
		f.Restart(false)
		<-l.Context().Done()
		var lost *lease.LostError
		if !errors.As(l.Err(), &lost) || lost.Reason != lease.LossRemoved {
			t.Errorf("the data are gone, and the lease: %v", l.Err())
		}
		_ = l.Release()
	})
}

// Outside a bubble a fleet works too.
func TestAFleetInRealTime(t *testing.T) {
	f := leasetest.NewFleet(t)
	l := acquire(t, semaphore(t, f.Process("p", lease.Options{}), lease.Config{}))
	if err := l.Release(); err != nil {
		t.Error(err)
	}
}
