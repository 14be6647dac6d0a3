// Command do is the first program of docs/getting-started.md: it writes a report under a permit, with Do. The fleet has two
// permits. It needs a Redis: at REDIS_URL, or on this machine.
//
//	go run ./examples/start/do
package main

import (
	"cmp"
	"context"
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
	reports, err := m.Semaphore(lease.Config{Name: "reports", Capacity: 2, TTL: 5 * time.Second})
	if err != nil {
		return err
	}
	return reports.Do(ctx, report, lease.MaxWait(time.Minute)) // waits for a permit, runs report, gives it back
}

// report writes thirty pages, one a second, until ctx ends.
func report(ctx context.Context) error {
	for page := 1; page <= 30; page++ {
		slog.Info("writes", "page", page)
		select {
		case <-time.After(time.Second): // a page takes a second
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
