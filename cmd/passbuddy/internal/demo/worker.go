package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/eqworks/passbuddy/lease"
)

// A process has a manager of its own, and its own way to Redis, as if it ran on its own machine.
type process struct {
	name    string
	link    *link
	client  *redis.Client
	manager *lease.Manager
}

func newProcess(name, addr string) (*process, error) {
	p := &process{name: name, link: newLink()}
	p.client = redis.NewClient(&redis.Options{
		Addr: addr, Dialer: p.link.dial, ContextTimeoutEnabled: true, DialerRetries: 1, DialTimeout: 3 * time.Second,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	})
	var err error
	p.manager, err = lease.New(p.client, lease.Options{Owner: name, Logger: slog.New(slog.DiscardHandler)})
	return p, err
}

// die ends the process as SIGKILL does: nothing that it holds is given back.
func (p *process) die() {
	p.link.become(dead)
	_ = p.manager.Close()
	_ = p.client.Close()
}

// A worker is a process that does one job after the other, each under a permit.
type worker struct {
	*process
	demo    *Demo
	gpu     *lease.Semaphore
	number  int
	killed  atomic.Bool
	endless atomic.Bool // the job under way goes on until it is told to stop
	stop    context.CancelFunc
	gone    chan struct{}
}

var labels = []string{"train", "evaluate", "render"}

// jobTime is how long a job takes: by turns, so that permits do not come free all at once.
func (w *worker) jobTime(job int) time.Duration {
	return w.demo.span(4*time.Second + time.Duration((w.number*3+job*2)%5)*400*time.Millisecond)
}

// work does jobs until ctx ends.
func (w *worker) work(ctx context.Context) {
	defer close(w.gone)
	for job := 0; ctx.Err() == nil; job++ {
		asked := time.Now()
		l, err := w.gpu.Acquire(ctx, lease.Label(labels[(w.number+job)%len(labels)]))
		if err != nil { // Redis does not answer, or ctx has ended
			rest(ctx, w.demo.span(200*time.Millisecond))
			continue
		}
		w.job(l, time.Since(asked), w.jobTime(job))
		rest(ctx, w.demo.span(100*time.Millisecond))
	}
}

// job works under a lease, and gives the permit back, unless the worker is killed.
func (w *worker) job(l *lease.Lease, waited, takes time.Duration) {
	w.demo.began(w, l, waited)
	done := time.NewTimer(takes)
	defer done.Stop()
	for working := true; working; {
		select {
		case <-l.Context().Done():
			working = false
		case <-done.C:
			working = w.endless.Load()
		}
	}
	if w.killed.Load() {
		return
	}
	w.demo.ended(w, l)
	_ = l.Release()
}

// kill ends the worker in the middle of what it does, and waits until its goroutine has ended.
func (w *worker) kill() {
	w.killed.Store(true)
	w.demo.vanished(w)
	w.die()
	w.stop()
	<-w.gone
}

// rest waits, and reports whether ctx did not end before.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// began tells of a lease, and counts it.
func (d *Demo) began(w *worker, l *lease.Lease, waited time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	slot := l.Slots()[0]
	d.holding[w] = l
	d.jobs++
	live := 0
	for _, other := range d.holding {
		if other.Valid() {
			live++
		}
	}
	d.mostAtOnce = max(d.mostAtOnce, live)
	text := fmt.Sprintf("gets slot %d", slot)
	if before := d.lastIn[slot]; before != "" {
		text += ", which was " + before + "'s"
	}
	if waited > d.span(150*time.Millisecond) {
		text += fmt.Sprintf("; it has waited for %.1f s", waited.Seconds())
	}
	d.lastIn[slot] = w.name
	d.tell(Event{Who: w.name, Text: text, Kind: Got, Name: gpu, Slot: slot, Token: l.Token()})
}

// ended tells of a lease that has ended before the work was done, and counts it no more.
func (d *Demo) ended(w *worker, l *lease.Lease) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.holding, w)
	w.endless.Store(false)
	var lost *lease.LostError
	if !errors.As(l.Err(), &lost) {
		return
	}
	why := "no renewal has reached Redis in time"
	if lost.Reason == lease.LossRevoked {
		why = "its permit was revoked"
	}
	d.tell(Event{Who: w.name, Text: "stops: the context of its lease has ended, since " + why, Kind: Stopped, Name: gpu, Slot: l.Slots()[0], Err: l.Err()})
}

// vanished counts a lease no more whose worker is killed.
func (d *Demo) vanished(w *worker) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.holding, w)
}
