// Command teardown is the second program of docs/getting-started.md: it writes a report under a permit, with Acquire. When
// it is told to stop, it tidies up before the permit goes back. It needs a Redis: at REDIS_URL, or on this machine.
//
//	go run ./examples/start/teardown
package main

import (
	"cmp"
	"context"
	"errors"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, cmp.Or(os.Getenv("REDIS_URL"), "redis://localhost:6379")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string) error {
	m, err := lease.Open(url, lease.Options{})
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.Ping(ctx); err != nil { // says at once what is wrong: address, password, permissions, version
		return err
	}
	reports, err := m.Semaphore(lease.Config{Name: "reports", Capacity: 2, TTL: 5 * time.Second})
	if err != nil {
		return err
	}
	return work(ctx, reports)
}

func work(ctx context.Context, reports *lease.Semaphore) error {
	l, err := reports.Acquire(ctx, lease.MaxWait(time.Minute), lease.Label("daily"))
	if err != nil {
		return err
	}
	defer l.Release()
	slog.Info("holds a permit", "semaphore", l.Name(), "id", l.ID(), "token", l.Token())
	err = report(l.Context()) // ends when the permit is lost, and when ctx ends
	if !l.Valid() {
		return l.Err() // lost: another process may hold the permit soon, so touch nothing
	}
	return errors.Join(err, tidyUp(l.Held())) // Held ends when the permit is lost, and not when ctx ends
}

// report writes thirty pages, one a second, until ctx ends.
func report(ctx context.Context) error {
	for page := 1; page <= 30; page++ {
		slog.Info("writes", "page", page)
		select {
		case <-time.After(time.Second): // a page takes a second
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// tidyUp removes the parts of a report that is not complete.
func tidyUp(ctx context.Context) error {
	slog.Info("tidies up, still under the permit")
	return ctx.Err()
}
