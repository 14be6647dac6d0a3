package main

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/eqworks/passbuddy/examples/internal/demo"
	"github.com/eqworks/passbuddy/lease"
)

const (
	machines = 2
	callTime = 60 * time.Millisecond
)

// calls is what a service stands, from the whole fleet together.
var calls = lease.Config{
	Name:          "example-pipeline-calls",
	Capacity:      3,
	TTL:           1500 * time.Millisecond,
	RetryInterval: 50 * time.Millisecond,
	MaxWait:       10 * time.Second,
}

// A service counts the calls that it gets at a time.
type service struct{ now, most atomic.Int64 }

func (s *service) call(ctx context.Context, record int) (string, error) {
	n := s.now.Add(1)
	defer s.now.Add(-1)
	for m := s.most.Load(); n > m && !s.most.CompareAndSwap(m, n); m = s.most.Load() {
	}
	if !demo.Sleep(ctx, callTime) {
		return "", context.Cause(ctx)
	}
	return fmt.Sprintf("record %d", record), nil
}

// enrichAll runs a pipeline on each machine.
func enrichAll(ctx context.Context, say *log.Logger, server *demo.Redis) error {
	var s service
	start := time.Now()
	var all errgroup.Group
	for i := range machines { // each with its own client and manager, as in processes of their own
		client := server.Client()
		defer client.Close()
		manager, err := lease.New(client, lease.Options{Prefix: prefix, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		defer manager.Close()
		limit, err := manager.Semaphore(calls)
		if err != nil {
			return err
		}
		all.Go(func() error {
			written, err := enrich(ctx, limit, &s, records)
			say.Printf("  machine %d: %d records written", i+1, written)
			return err
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	say.Printf("  never more than %d calls at a time, from both; %.1f s, where one call at a time takes %.1f s",
		s.most.Load(), time.Since(start).Seconds(), (machines * records * callTime).Seconds())
	if n := s.most.Load(); n > int64(calls.Capacity) {
		return fmt.Errorf("%d calls at a time", n)
	}
	return nil
}

// enrich is a pipeline whose stages run under no lease, except for each call of the service.
func enrich(ctx context.Context, limit *lease.Semaphore, s *service, n int) (written int, err error) {
	g, stages := errgroup.WithContext(ctx)
	read, transformed := make(chan int), make(chan string)
	g.Go(func() error {
		defer close(read)
		for i := range n {
			if err := send(stages, read, i); err != nil {
				return err
			}
		}
		return nil
	})
	g.Go(func() error {
		defer close(transformed)
		group := limit.Group(stages)
		for i := range read {
			if group.Context().Err() != nil {
				break
			}
			group.Go(func(ctx context.Context) error { // waits for a permit
				record, err := s.call(ctx, i)
				if err != nil {
					return err
				}
				return send(ctx, transformed, record)
			})
		}
		return group.Wait() // says why, also when a lease was lost
	})
	g.Go(func() error {
		for range transformed {
			written++
		}
		return stages.Err()
	})
	err = g.Wait()
	return written, err
}
