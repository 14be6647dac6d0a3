// Command cron shows a nightly job that runs once in a fleet. Three machines start it at the same time.
// One gets the permit and works; the others stand by, and find in the ledger that the job is done. In the
// second night the machine that works is told to stop in the middle: it saves where it is while it still
// holds the permit, and only then gives it back, so that another goes on from there.
//
//	go run ./examples/cron
//	REDIS_URL=redis://localhost:6379 go run ./examples/cron
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

const (
	machines = 3
	steps    = 8
	stepTime = 250 * time.Millisecond
	saveTime = 700 * time.Millisecond
)

var config = lease.Config{
	Name:          "example-cron",
	Capacity:      1,
	TTL:           2 * time.Second,
	RetryInterval: 200 * time.Millisecond,
	MaxWait:       15 * time.Second, // how long a machine stands by
}

var errTerm = errors.New("SIGTERM")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "cron:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	server, err := demo.Start()
	if err != nil {
		return err
	}
	defer server.Close()
	fmt.Fprintf(out, "%d machines start the same job of %d steps, under %q, on %s.\n\n", machines, steps, config.Name, server.Name)
	f := &fleet{log: demo.NewLog(out), ledger: &ledger{nights: map[string]*night{}}}
	for i := range machines {
		client := server.Client()
		defer client.Close()
		manager, err := lease.New(client, lease.Options{Owner: fmt.Sprintf("machine-%d", i+1), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		defer manager.Close()
		semaphore, err := manager.Semaphore(config)
		if err != nil {
			return err
		}
		f.machines = append(f.machines, &machine{name: fmt.Sprintf("machine %d", i+1), fleet: f, semaphore: semaphore})
	}
	if err := f.pass(ctx, "Monday", nil); err != nil {
		return err
	}
	interrupt := func(m *machine) {
		f.log.Say("", "%s is sent SIGTERM", m.name)
		m.terminate(errTerm)
	}
	return f.pass(ctx, "Tuesday", interrupt)
}

// A fleet is the machines, and the database that they share.
type fleet struct {
	machines []*machine
	ledger   *ledger
	log      *demo.Log
}

// pass is one night. interrupt, if any, is told the machine that is in the middle of the job.
func (f *fleet) pass(ctx context.Context, name string, interrupt func(*machine)) error {
	f.log.Say("", "%s night", name)
	n := f.ledger.night(name)
	if interrupt != nil {
		n.halfway = func(m *machine) { interrupt(m) }
	}
	errs := make([]error, len(f.machines))
	var all sync.WaitGroup
	for i, m := range f.machines {
		all.Go(func() { errs[i] = m.job(ctx, name) })
	}
	all.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	done, order := n.score()
	f.log.Say("", "%s: %d of %d steps, each once, by %v", name, done, steps, order)
	if done != steps {
		return fmt.Errorf("%s: %d steps were done, want %d", name, done, steps)
	}
	return nil
}
