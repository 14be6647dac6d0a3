package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/eqworks/passbuddy/examples/internal/demo"
	"github.com/eqworks/passbuddy/lease"
)

// A node is a candidate for as long as it runs, and a leader now and then.
type node struct {
	name      string
	election  *election
	semaphore *lease.Semaphore
	network   *demo.Network // between this node and everything else

	mu     sync.Mutex
	cancel context.CancelCauseFunc // of the present term
}

// run is the leader loop.
func (n *node) run(ctx context.Context) {
	for ctx.Err() == nil {
		term, cancel := context.WithCancelCause(ctx)
		l, err := n.semaphore.Acquire(term)
		if err != nil {
			cancel(nil)
			demo.Sleep(ctx, config.RetryInterval) // no Redis: candidates have time
			continue
		}
		n.mu.Lock()
		n.cancel = cancel
		n.mu.Unlock()
		n.lead(ctx, l)
		cancel(nil)
		if ctx.Err() == nil {
			demo.Sleep(ctx, config.TTL/3) // let another have it
		}
	}
}

// lead writes until the lease's context ends, and then gives the permit back.
func (n *node) lead(ctx context.Context, l *lease.Lease) {
	defer l.Release()
	n.election.log.Say(n.name, "LEADS, token …%s", short(l.Token()))
	n.election.leads <- n
	var err error
	for i := 1; err == nil && demo.Sleep(l.Context(), 300*time.Millisecond); i++ {
		err = n.write(ctx, l, fmt.Sprintf("%s: %d", n.name, i))
	}
	var lost *lease.LostError
	switch reason := l.Err(); {
	case errors.As(reason, &lost):
		n.election.log.Say(n.name, "STEPS DOWN: %v", lost.Reason)
	case reason != nil:
		n.election.log.Say(n.name, "resigns: %v", reason)
	default:
		n.election.log.Say(n.name, "resigns: %v", err)
	}
}

// write sends a value to the store. What has left the node arrives when the network lets it, whatever has
// become of the leader meanwhile: this is what the token is for.
func (n *node) write(ctx context.Context, l *lease.Lease, value string) error {
	token := l.Token()
	answer := make(chan error, 1)
	go func() {
		if n.network.Pass(ctx) == nil {
			answer <- n.election.store.write(token, value)
		}
	}()
	select {
	case err := <-answer:
		return err
	case <-l.Context().Done():
		return context.Cause(l.Context())
	}
}

// resign ends the present term.
func (n *node) resign(why error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cancel(why)
}

// A store keeps a value, and remembers the largest token that it was written with. Safe for concurrent
// use. In a database this is one statement: UPDATE … SET value = ?, token = ? WHERE token <= ?.
type store struct {
	refusals chan error

	mu      sync.Mutex
	token   int64
	value   string
	written int
	refused int
}

func (s *store) write(token int64, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if token < s.token {
		s.refused++
		err := fmt.Errorf("token …%s is older than …%s", short(token), short(s.token))
		s.refusals <- err
		return err
	}
	s.token, s.value = token, value
	s.written++
	return nil
}

func (s *store) score() (written, refused int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written, s.refused
}

// short is the part of a token in which those of a day differ, to the tenth of a millisecond.
func short(token int64) string { return fmt.Sprintf("%09d", token/100_000%1_000_000_000) }
