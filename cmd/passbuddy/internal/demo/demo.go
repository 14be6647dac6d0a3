// Package demo is a small fleet that shows in a minute what leases are: workers that compete, wait, crash and stall, and an
// operator, on a Redis inside this program. What it tells has happened.
package demo

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/eqworks/passbuddy/extra/leaseweb"
	"github.com/eqworks/passbuddy/lease"
)

const (
	gpu     = "gpu"
	report  = "nightly-report"
	permits = 3
	workers = 5
	ttl     = 3 * time.Second
	margin  = ttl / 6 // large, for people to see it

	// Lasts is for how long the demo plays where nobody can end it.
	Lasts = time.Minute
)

// A Config is a Demo's.
type Config struct {
	// Pace is how long everything takes, of what people need to follow it; 0: as people need it.
	Pace float64
}

// A Demo is a Redis with a fleet. It is made by Start.
type Demo struct {
	*eventLog
	Began    time.Time
	Addr     string         // of the Redis
	Operator *lease.Manager // of a process that holds nothing
	PageURL  string         // of the live page, on a free port of the loopback interface

	pace     float64
	redis    *miniredis.Miniredis
	operator *process
	page     *http.Server
	live     *leaseweb.Handler // what it serves
	served   chan struct{}     // closed when the page is no longer served

	mu         sync.Mutex
	atWork     map[string]*worker
	processes  []*process
	holding    map[*worker]*lease.Lease
	lastIn     [permits]string // by slot
	jobs       int
	mostAtOnce int
}

// Start starts the Redis, the operator's process and the page.
func Start(cfg Config) (*Demo, error) {
	d := &Demo{eventLog: newEventLog(), Began: time.Now(), pace: cfg.Pace, atWork: map[string]*worker{}, holding: map[*worker]*lease.Lease{}}
	if d.pace == 0 {
		d.pace = 1
	}
	var err error
	if d.redis, err = miniredis.Run(); err != nil {
		return nil, fmt.Errorf("start the embedded Redis: %w", err)
	}
	d.Addr = d.redis.Addr()
	if d.operator, err = d.process("operator"); err == nil {
		d.Operator = d.operator.manager
		err = d.servePage()
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// servePage serves the live page of what the operator sees. Whoever looks at it may act: it is all their own.
func (d *Demo) servePage() error {
	var err error
	d.live, err = leaseweb.New(d.Operator, leaseweb.Options{
		Hosts: []string{"localhost"}, AllowActions: true, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("serve the page: %w", err)
	}
	d.PageURL = "http://" + listener.Addr().String()
	d.page = &http.Server{Handler: d.live, ReadHeaderTimeout: 10 * time.Second}
	d.served = make(chan struct{})
	go func() {
		defer close(d.served)
		_ = d.page.Serve(listener) // until Close
	}()
	return nil
}

// Close ends everything at once, and waits for it. The log ends.
func (d *Demo) Close() {
	if d.page != nil {
		_ = d.page.Close()
		<-d.served
		_ = d.live.Shutdown(context.Background()) // nobody looks any more
	}
	d.mu.Lock()
	atWork, processes := d.atWork, d.processes
	d.atWork = nil
	d.mu.Unlock()
	for _, w := range atWork {
		w.killed.Store(true)
		w.link.become(dead)
		w.stop()
		<-w.gone
	}
	for _, p := range processes {
		p.die()
	}
	d.redis.Close()
	d.end()
}

// span is how long something takes at the demo's pace.
func (d *Demo) span(asPeopleNeedIt time.Duration) time.Duration {
	return time.Duration(float64(asPeopleNeedIt) * d.pace)
}

// process starts a process.
func (d *Demo) process(name string) (*process, error) {
	p, err := newProcess(name, d.Addr)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.processes = append(d.processes, p)
	return p, nil
}

// startWorker starts a worker.
func (d *Demo) startWorker(number int) error {
	name := fmt.Sprintf("worker-%d", number)
	p, err := d.process(name)
	if err != nil {
		return err
	}
	s, err := p.manager.Semaphore(lease.Config{Name: gpu, Capacity: permits, TTL: d.span(ttl), Margin: d.span(margin), Slots: true})
	if err != nil {
		return err
	}
	w := &worker{process: p, demo: d, gpu: s, number: number, gone: make(chan struct{})}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.atWork == nil { // Close came first
		stop()
		return lease.ErrClosed
	}
	d.atWork[name] = w
	go w.work(ctx)
	return nil
}

// Summary says what has happened so far.
func (d *Demo) Summary() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return fmt.Sprintf("In %.0f seconds the workers did %d jobs on the %d permits of %s, and never more than %d at once.",
		time.Since(d.Began).Seconds(), d.jobs, permits, gpu, d.mostAtOnce)
}

// Next waits for the event of that number, from 0. There is none when ctx ends, or after Close.
func (d *Demo) Next(ctx context.Context, number int) (Event, bool) { return d.next(ctx, number) }
