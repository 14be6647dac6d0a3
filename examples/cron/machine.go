package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/eqworks/passbuddy/examples/internal/demo"
	"github.com/eqworks/passbuddy/lease"
)

// A machine starts the job every night, as cron does.
type machine struct {
	name      string
	fleet     *fleet
	semaphore *lease.Semaphore
	terminate context.CancelCauseFunc // what SIGTERM does
}

// job runs the job unless another machine does. It returns nil when the job is done, or goes on elsewhere.
func (m *machine) job(ctx context.Context, night string) error {
	ctx, cancel := context.WithCancelCause(ctx) // in a program: signal.NotifyContext(ctx, syscall.SIGTERM)
	defer cancel(nil)
	m.terminate = cancel

	l, err := m.semaphore.Acquire(ctx) // stands by while another machine works
	if errors.Is(err, lease.ErrAtCapacity) {
		m.fleet.log.Say(m.name, "goes home: the job runs elsewhere, and takes long")
		return nil
	}
	if err != nil {
		return err
	}
	defer l.Release()

	n := m.fleet.ledger.night(night)
	if n.isDone() { // a permit alone does not say that nobody was here before
		m.fleet.log.Say(m.name, "finds the job done")
		return nil
	}
	m.fleet.log.Say(m.name, "RUNS the job from step %d", n.next())
	err = n.work(l.Context(), m)
	if err == nil {
		m.fleet.log.Say(m.name, "has done the job")
		return l.Release()
	}
	if !l.Valid() {
		return fmt.Errorf("%s: %w", m.name, l.Err()) // another machine may be at work: hands off
	}
	// Told to stop. The permit stays, renewed, until the teardown is done: nobody starts before.
	m.fleet.log.Say(m.name, "stops: %v; saves where it is, under Held()", l.Err())
	if err := n.save(l.Held()); err != nil {
		return err
	}
	m.fleet.log.Say(m.name, "has saved, gives the permit back")
	return l.Release()
}

// A ledger is the database of the job. Safe for concurrent use.
type ledger struct {
	mu     sync.Mutex
	nights map[string]*night
}

func (l *ledger) night(name string) *night {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.nights[name]
	if n == nil {
		n = &night{}
		l.nights[name] = n
	}
	return n
}

// A night is what the ledger knows of one run. Safe for concurrent use; that only one machine works at a
// time is the lease's part.
type night struct {
	halfway func(*machine) // called in the middle, the first time

	mu      sync.Mutex
	done    int // steps
	saved   bool
	workers []string // who did some of them
}

func (n *night) isDone() bool { return n.next() > steps }

func (n *night) next() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.done + 1
}

func (n *night) score() (done int, workers []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.done, n.workers
}

// work does the steps that are left, until ctx ends. A step is done or not: what ends in its middle is not.
func (n *night) work(ctx context.Context, m *machine) error {
	n.mu.Lock()
	n.workers = append(n.workers, m.name)
	n.mu.Unlock()
	for !n.isDone() {
		if n.next() == steps/2 && n.halfway != nil {
			halfway := n.halfway
			n.halfway = nil
			halfway(m)
		}
		if !demo.Sleep(ctx, stepTime) {
			return context.Cause(ctx)
		}
		if l := lease.FromContext(ctx); !l.Valid() { // a step cannot be undone
			return l.Err()
		}
		n.mu.Lock()
		n.done++
		n.mu.Unlock()
	}
	return nil
}

// save is the teardown: it takes a while, and must not be done by two machines.
func (n *night) save(ctx context.Context) error {
	if !demo.Sleep(ctx, saveTime) {
		return context.Cause(ctx)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.saved = true
	return nil
}
