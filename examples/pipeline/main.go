// Command pipeline runs an errgroup pipeline, read → transform → write, under one lease. The first run
// completes. In the second, somebody takes the permit away: every stage stops, and the program says
// why, where errgroup alone would say "context canceled". In the third, two pipelines run at the same
// time, and one of their stages calls a service that stands so many calls from the whole fleet: a Group.
//
//	go run ./examples/pipeline
//	REDIS_URL=redis://localhost:6379 go run ./examples/pipeline
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"math"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/eqworks/passbuddy/examples/internal/demo"
	"github.com/eqworks/passbuddy/lease"
)

const (
	prefix  = "passbuddy"
	records = 30
	pace    = 50 * time.Millisecond // of the records
)

var config = lease.Config{
	Name:     "example-pipeline",
	Capacity: 1, // one import at a time, whatever the number of machines
	TTL:      1500 * time.Millisecond,
	MaxWait:  10 * time.Second, // for another program that runs this
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "pipeline:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	server, err := demo.Start()
	if err != nil {
		return err
	}
	defer server.Close()
	client := server.Client()
	defer client.Close()
	manager, err := lease.New(client, lease.Options{
		Prefix: prefix,
		Logger: slog.New(slog.DiscardHandler), // the loss is told below
	})
	if err != nil {
		return err
	}
	defer manager.Close()
	semaphore, err := manager.Semaphore(config)
	if err != nil {
		return err
	}
	say := log.New(out, "", 0) // the stages speak at the same time
	say.Printf("Three stages under one lease of %q, on %s.\n\n", config.Name, server.Name)

	say.Printf("Run 1: %d records, and nothing in the way.", records)
	if err := importUnderLease(ctx, say, semaphore, records, nil); err != nil {
		return err
	}

	say.Printf("\nRun 2: records without end; after a second somebody takes the permit away.")
	takeAway := func(ctx context.Context, id string) error {
		key := prefix + "-" + config.Name
		if !demo.Sleep(ctx, time.Second) {
			return ctx.Err()
		}
		say.Printf("  ZREM %s %s", key, id)
		return client.ZRem(ctx, key, id).Err()
	}
	err = importUnderLease(ctx, say, semaphore, math.MaxInt, takeAway)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !errors.Is(err, lease.ErrLost):
		return fmt.Errorf("run 2 did not end as lost, but with: %v", err)
	}

	say.Printf("\nRun 3: %d pipelines at a time; their transform stages share %d calls of a service.", machines, calls.Capacity)
	return enrichAll(ctx, say, server)
}

// importUnderLease runs the stages for n records and returns why they stopped, nil when they were done.
// meanwhile, if any, runs beside them and is told the permit's id.
func importUnderLease(ctx context.Context, say *log.Logger, semaphore *lease.Semaphore, n int, meanwhile func(context.Context, string) error) error {
	l, err := semaphore.Acquire(ctx)
	if err != nil {
		return err
	}
	defer l.Release()
	say.Printf("  got the permit, token %d", l.Token())
	start := time.Now()

	p := pipeline{say: say}
	g, stages := errgroup.WithContext(l.Context())
	read, transformed := make(chan int), make(chan string)
	g.Go(func() error { return p.stage("read", p.read(stages, n, read)) })
	g.Go(func() error { return p.stage("transform", p.transform(stages, read, transformed)) })
	g.Go(func() error { return p.stage("write", p.write(stages, transformed)) })
	if meanwhile != nil {
		g.Go(func() error { return meanwhile(stages, l.ID()) })
	}
	err = g.Wait()
	say.Printf("  %d records written in %.1f s", p.written, time.Since(start).Seconds())

	// All that a stage knows is that its context ended. Whether that was the lease's end, the lease knows.
	reason := l.Err()
	if reason == nil {
		if err == nil {
			err = l.Release()
		}
		return err
	}
	say.Printf("  errgroup says:  %v", err)
	say.Printf("  the lease says: %v", reason)
	if cause := context.Cause(stages); !errors.Is(cause, reason) {
		return fmt.Errorf("context.Cause says something else: %w", cause)
	}
	return reason
}

// A pipeline is one run. Its stages end with their context, and close what they send to.
type pipeline struct {
	say     *log.Logger
	written int // the write stage's
}

// stage says how a stage ended.
func (p *pipeline) stage(name string, err error) error {
	if err != nil {
		p.say.Printf("  %s stops", name)
	} else {
		p.say.Printf("  %s is done", name)
	}
	return err
}

func (p *pipeline) read(ctx context.Context, n int, to chan<- int) error {
	defer close(to)
	for i := range n {
		demo.Sleep(ctx, pace)
		if err := send(ctx, to, i); err != nil {
			return err
		}
	}
	return nil
}

func (p *pipeline) transform(ctx context.Context, from <-chan int, to chan<- string) error {
	defer close(to)
	for i := range from {
		if err := send(ctx, to, fmt.Sprintf("record %d", i)); err != nil {
			return err
		}
	}
	return ctx.Err() // from is also closed when read was stopped
}

func (p *pipeline) write(ctx context.Context, from <-chan string) error {
	for range from {
		// A write cannot be undone: ask the lease, which looks at the clock. An errgroup's context does
		// not, and is as late as a timer can be.
		if l := lease.FromContext(ctx); !l.Valid() {
			return l.Err()
		}
		p.written++
	}
	return ctx.Err()
}

// send gives up when ctx ends, so that a stage never waits for one that has gone.
func send[T any](ctx context.Context, to chan<- T, v T) error {
	select {
	case to <- v:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
