// Command leader shows package leader at work. Three nodes compete for a semaphore with one permit; who has it
// leads, and writes to a store that refuses older fencing tokens. The leader's network stalls: it steps
// down before another node is elected, and the write that was on its way is refused when it arrives. The
// next leader resigns in good order, and is followed at once.
//
//	go run ./examples/leader
//	REDIS_URL=redis://localhost:6379 go run ./examples/leader
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/eqworks/passbuddy/examples/internal/demo"
	"github.com/eqworks/passbuddy/lease"
)

const nodes = 3

var config = lease.Config{
	Name:          "example-leader",
	Capacity:      1,
	TTL:           1500 * time.Millisecond,
	RetryInterval: 200 * time.Millisecond,
}

var (
	errResign    = errors.New("told to resign")
	errDayIsOver = errors.New("the day is over")
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "leader:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	server, err := demo.Start()
	if err != nil {
		return err
	}
	defer server.Close()
	fmt.Fprintf(out, "%d nodes compete for the one permit of %q, on %s.\n", nodes, config.Name, server.Name)
	fmt.Fprintf(out, "Only the last digits of the tokens are shown. Time is in seconds.\n\n")

	e := &election{log: demo.NewLog(out), leads: make(chan *node, nodes)}
	e.store.refusals = make(chan error, 100)
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var all sync.WaitGroup
	for i := range nodes {
		n := &node{name: fmt.Sprintf("node %d", i+1), election: e, resigns: make(chan error, 1)}
		client, network := server.Machine()
		defer client.Close()
		n.network = network
		manager, err := lease.New(client, lease.Options{Owner: fmt.Sprintf("node-%d", i+1), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		defer manager.Close()
		if n.semaphore, err = manager.Semaphore(config); err != nil {
			return err
		}
		all.Go(func() { n.run(ctx) })
	}
	err = e.story(ctx)
	end(errDayIsOver)
	all.Wait()
	if err != nil {
		return err
	}
	written, refused := e.store.score()
	e.log.Say("", "%d leaders; the store took %d writes, in the order of their tokens, and refused %d", e.terms, written, refused)
	if refused != 1 {
		return fmt.Errorf("the store refused %d writes, want the one that was late", refused)
	}
	return nil
}

// An election is what the nodes have in common: what people see, and what leaders write to.
type election struct {
	log   *demo.Log
	store store
	leads chan *node // every new leader
	terms int        // the story's
}

// story is what happens to the leaders.
func (e *election) story(ctx context.Context) error {
	first, err := e.next(ctx)
	if err != nil {
		return err
	}
	demo.Sleep(ctx, 1700*time.Millisecond)
	e.log.Say("network", "STALLS around %s", first.name)
	first.network.Stall()
	second, err := e.next(ctx)
	if err != nil {
		return err
	}
	demo.Sleep(ctx, 1200*time.Millisecond)
	e.log.Say("network", "is back around %s: what it wrote last arrives", first.name)
	first.network.Heal()
	select {
	case err := <-e.store.refusals:
		e.log.Say("store", "REFUSES the late write: %v", err)
	case <-time.After(5 * time.Second):
		return errors.New("the late write was not refused")
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	demo.Sleep(ctx, 700*time.Millisecond)
	second.resigns <- errResign
	if _, err := e.next(ctx); err != nil {
		return err
	}
	demo.Sleep(ctx, time.Second)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// next waits for a new leader.
func (e *election) next(ctx context.Context) (*node, error) {
	select {
	case n := <-e.leads:
		e.terms++
		return n, nil
	case <-time.After(10 * time.Second): // another program on the same Redis leads
		return nil, errors.New("nobody was elected in ten seconds")
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
