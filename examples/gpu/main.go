// Command gpu runs jobs on the GPUs of one machine, from several processes. A permit is a GPU: Config.Slots says which. One
// job needs two at once. Labels say what each GPU is used for.
//
//	go run ./examples/gpu
//	REDIS_URL=redis://localhost:6379 go run ./examples/gpu
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/eqworks/passbuddy/examples/internal/demo"
	"github.com/eqworks/passbuddy/lease"
)

const (
	processes = 3
	jobs      = 4 // of each process
	gpus      = 4
)

var config = lease.Config{
	Name:     "example-gpu",
	Capacity: gpus,
	Slots:    true, // each permit is one of the GPUs, from 0
	TTL:      3 * time.Second,
	MaxWait:  20 * time.Second, // for another program that runs this
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "gpu:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	server, err := demo.Start()
	if err != nil {
		return err
	}
	defer server.Close()
	fmt.Fprintf(out, "%d processes with %d jobs each share %d GPUs as %q, on %s. The last job of each needs two.\n\n", processes, jobs, gpus, config.Name, server.Name)
	say := demo.NewLog(out)
	machine := &machine{}
	g, ctx := errgroup.WithContext(ctx)
	var operator *lease.Semaphore
	for p := range processes {
		client := server.Client()
		defer client.Close()
		manager, err := lease.New(client, lease.Options{Owner: fmt.Sprintf("process-%d", p+1), Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		defer manager.Close()
		semaphore, err := manager.Semaphore(config)
		if err != nil {
			return err
		}
		operator = semaphore
		for j := range jobs {
			job := fmt.Sprintf("job %d.%d", p+1, j+1)
			need := 1
			if j == jobs-1 {
				need = 2
			}
			g.Go(func() error {
				return semaphore.Do(ctx, func(ctx context.Context) error {
					return machine.work(ctx, say, job, lease.FromContext(ctx).Slots())
				}, lease.Weight(need), lease.Label(job))
			})
		}
	}
	g.Go(func() error { return show(ctx, say, operator) })
	if err := g.Wait(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\n%d jobs are done. No GPU ever had two of them.\n", processes*jobs)
	return nil
}

// show says once who has which GPU, as an operator would see it.
func show(ctx context.Context, say *demo.Log, semaphore *lease.Semaphore) error {
	if !demo.Sleep(ctx, 150*time.Millisecond) {
		return context.Cause(ctx)
	}
	state, err := semaphore.Inspect(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(state.Holders, func(a, b lease.Holder) int { return slices.Compare(a.Slots, b.Slots) })
	var uses []string
	for _, h := range state.Holders {
		uses = append(uses, fmt.Sprintf("%s on %v", h.Label, h.Slots))
	}
	say.Say("operator", "sees %s; %d requests wait in the queue", strings.Join(uses, ", "), len(state.Waiters))
	return nil
}

// A machine has the GPUs. It knows which are busy.
type machine struct {
	mu   sync.Mutex
	busy [gpus]string
}

// work runs a job on its GPUs. It fails when one of them is busy: that must never be.
func (m *machine) work(ctx context.Context, say *demo.Log, job string, own []int) error {
	if err := m.mark(own, "", job); err != nil {
		return err
	}
	say.Say(job, "runs on GPU %s", strings.Join(strings.Fields(strings.Trim(fmt.Sprint(own), "[]")), " and "))
	done := demo.Sleep(ctx, 250*time.Millisecond)
	if err := m.mark(own, job, ""); err != nil {
		return err
	}
	if !done {
		return context.Cause(ctx)
	}
	return nil
}

// mark has the GPUs go from one use to another.
func (m *machine) mark(own []int, from, to string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(own) == 0 {
		return errors.New("there is no GPU")
	}
	for _, n := range own {
		if m.busy[n] != from {
			return fmt.Errorf("GPU %d is used by %q", n, m.busy[n])
		}
		m.busy[n] = to
	}
	return nil
}
