// Command worker shows what a lease is. Five workers compete for the two permits of a semaphore. Then
// the network to Redis stalls, and every holder is told to stop before Redis gives its permit to
// somebody else. When the network is back, work goes on.
//
//	go run ./examples/worker
//	REDIS_URL=redis://localhost:6379 go run ./examples/worker
//
// Start it in two terminals with the same REDIS_URL, and both together never hold more than two permits.
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

	"github.com/google/uuid"

	"github.com/eqworks/passbuddy/examples/internal/demo"
	"github.com/eqworks/passbuddy/lease"
)

const (
	workers = 5
	prefix  = "passbuddy"

	jobTime     = 2600 * time.Millisecond
	cleanUpTime = 100 * time.Millisecond

	calm     = 2 * time.Second // before the stall
	stall    = 3 * time.Second // longer than the TTL: it costs every lease that is held
	recovery = 6 * time.Second
)

var config = lease.Config{
	Name:     "example-worker",
	Capacity: 2,
	TTL:      2 * time.Second,
	Margin:   200 * time.Millisecond, // what a job needs to stop
}

var errDayIsOver = errors.New("the day is over")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
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
	direct := server.Direct()
	defer direct.Close()

	owner := "worker-" + uuid.NewString()[:4]
	manager, err := lease.New(client, lease.Options{
		Prefix: prefix,
		Owner:  owner,
		Logger: slog.New(slog.DiscardHandler), // the account says it all, in its own columns
	})
	if err != nil {
		return err
	}
	defer manager.Close()
	semaphore, err := manager.Semaphore(config)
	if err != nil {
		return err
	}
	if err := manager.Ping(ctx); err != nil {
		return err
	}

	account := newAccount(out)
	account.opening(server.Name, owner)
	d := &day{
		semaphore: semaphore,
		network:   server.Network,
		onlooker: &onlooker{
			client: direct, key: prefix + "-" + config.Name, owner: owner, account: account,
			expiry: map[string]time.Time{},
		},
		account: account,
		fresh:   make(chan struct{}),
	}
	d.pass(ctx)

	ending, cancel := context.WithTimeout(context.Background(), config.TTL)
	defer cancel()
	if err := manager.Shutdown(ending); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return account.closing()
}

// A day is what happens from the first acquire to the last release.
type day struct {
	semaphore *lease.Semaphore
	network   *demo.Network
	onlooker  *onlooker
	account   *account
	fresh     chan struct{} // receives when a worker got a permit, if anybody listens
}

// pass returns when every worker has gone home.
func (d *day) pass(ctx context.Context) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	var all sync.WaitGroup
	for i := range workers {
		all.Go(func() { d.work(ctx, fmt.Sprintf("worker %d", i+1)) })
	}
	all.Go(func() { d.onlooker.watch(ctx) })
	d.weather(ctx)
	end(errDayIsOver)
	all.Wait()
}

// weather lets the network stall just after a worker got a permit, and heals it.
func (d *day) weather(ctx context.Context) {
	demo.Sleep(ctx, calm)
	select {
	case <-d.fresh:
	case <-time.After(2 * jobTime): // other programs have all permits
	case <-ctx.Done():
	}
	demo.Sleep(ctx, jobTime/5)
	if ctx.Err() != nil {
		return
	}
	d.network.Stall()
	defer d.network.Heal()
	d.account.stalls()
	demo.Sleep(ctx, stall)
	d.network.Heal()
	d.account.heals()
	demo.Sleep(ctx, recovery)
}

// work does one job after the other, each under a lease of its own.
func (d *day) work(ctx context.Context, name string) {
	waits := false // and the account says so
	for ctx.Err() == nil {
		l, err := d.semaphore.Acquire(ctx)
		if err == nil {
			waits = false
			d.job(name, l)
			continue
		}
		// A waiter whom Redis has answered once rides out a stall. This one came later.
		if ctx.Err() == nil && !waits {
			waits = true
			d.account.line(name, "asks for a permit, no answer; goes on asking")
		}
		demo.Sleep(ctx, 250*time.Millisecond)
	}
}

// job works until it is done or its lease ends, and gives the permit back.
func (d *day) job(name string, l *lease.Lease) {
	defer l.Release()
	d.account.got(name, l)
	select {
	case d.fresh <- struct{}{}:
	default:
	}

	d.toil(name, l)

	how := finished
	if reason := l.Err(); reason != nil && l.Valid() { // the caller's context ended; the permit is still held
		d.account.line(name, "told to stop: %v; cleans up", reason)
		demo.Sleep(l.Held(), cleanUpTime)
		how = stopped
	}
	if !l.Valid() {
		margin, seen := d.onlooker.margin(l.ID(), time.Now())
		d.account.leftLost(name, l.Err(), margin)
		if !seen {
			d.account.problem("the permit of %s was never seen in Redis", name)
		}
		return
	}
	d.account.left(name, how)
	if err := l.Release(); err != nil {
		d.account.line(name, "has no answer to that; the TTL frees the permit")
	}
}

// toil is the work: it returns when it is done, or when the lease's context ends. Meanwhile the lease
// renews itself; looking at it is for the account only.
func (d *day) toil(name string, l *lease.Lease) {
	ctx := l.Context()
	done := time.NewTimer(jobTime)
	defer done.Stop()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	until := l.TrustedUntil()
	for {
		select {
		case <-ctx.Done():
			return
		case <-done.C:
			return
		case <-look.C:
			if now := l.TrustedUntil(); now.After(until) {
				until = now
				d.account.renewed(name, l)
			}
		}
	}
}
