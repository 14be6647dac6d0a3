package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/eqworks/passbuddy/examples/internal/demo"
	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leader"
)

// A node is a candidate for as long as it runs, and a leader now and then.
type node struct {
	name      string
	election  *election
	semaphore *lease.Semaphore
	network   *demo.Network // between this node and everything else
	resigns   chan error    // gets why the leader is to give it up
}

// run campaigns until ctx ends, also after it has resigned.
func (n *node) run(ctx context.Context) {
	for ctx.Err() == nil {
		_ = leader.Run(ctx, n.semaphore, n.lead, leader.Options{Elected: n.elected, Ended: n.ended})
	}
}

func (n *node) elected(l *lease.Lease) {
	n.election.log.Say(n.name, "LEADS, token …%s", short(l.Token()))
	n.election.leads <- n
}

func (n *node) ended(_ *lease.Lease, why error) {
	var lost *lease.LostError
	if errors.As(why, &lost) {
		n.election.log.Say(n.name, "STEPS DOWN: %v", lost.Reason)
		return
	}
	n.election.log.Say(n.name, "resigns: %v", why)
}

// lead writes until it is told to resign, or its lease ends.
func (n *node) lead(ctx context.Context) error {
	for i := 1; ; i++ {
		select {
		case why := <-n.resigns:
			return why
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(300 * time.Millisecond):
		}
		if err := n.write(ctx, lease.FromContext(ctx), fmt.Sprintf("%s: %d", n.name, i)); err != nil {
			return err
		}
	}
}

// write sends a value to the store. What has left the node arrives when the network lets it, whatever has
// become of the leader meanwhile: this is what the token is for.
func (n *node) write(ctx context.Context, l *lease.Lease, value string) error {
	token := l.Token()
	answer := make(chan error, 1)
	sending := context.WithoutCancel(ctx)
	go func() {
		if n.network.Pass(sending) == nil {
			answer <- n.election.store.write(token, value)
		}
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
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
