package demo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/show"
	"github.com/eqworks/passbuddy/lease"
)

// Play plays the scenes, and lets the fleet work on until ctx ends, with whose error it returns. again: the scenes begin
// anew meanwhile.
func (d *Demo) Play(ctx context.Context, again bool) error {
	d.scene("%d workers want the %d permits of the semaphore %q. Each stands for a process on a machine of its own.", workers, permits, gpu)
	d.explain("Redis runs inside this program. A permit outlives its holder by %v at most, its TTL; while it is held, it is renewed.", d.span(ttl))
	d.explain("The same on a page: %s", d.PageURL)
	if err := d.queue(ctx); err != nil {
		return err
	}
	for {
		for _, scene := range []func(context.Context) error{d.once, d.crash, d.stall, d.pause, d.revoke} {
			if err := scene(ctx); err != nil {
				return err
			}
			if !rest(ctx, d.span(3*time.Second)) {
				return ctx.Err()
			}
		}
		if !again {
			d.scene("That was all. The fleet works on until a minute is over.")
			<-ctx.Done()
			return ctx.Err()
		}
		d.scene("That was all; it begins again.")
	}
}

// scene says what is shown next.
func (d *Demo) scene(format string, args ...any) {
	d.tell(Event{Text: fmt.Sprintf(format, args...), Kind: Scene})
}

// explain tells something that is no news of a process.
func (d *Demo) explain(format string, args ...any) { d.tell(Event{Text: fmt.Sprintf(format, args...)}) }

// queue has the workers come one after the other: the first take the permits, the others wait in line.
func (d *Demo) queue(ctx context.Context) error {
	for n := 1; n <= workers; n++ {
		before := d.count()
		if err := d.startWorker(n); err != nil {
			return err
		}
		name := fmt.Sprintf("worker-%d", n)
		if n <= permits {
			if _, ok := d.await(ctx, before, func(e Event) bool { return e.Kind == Got && e.Who == name }); !ok {
				return ctx.Err()
			}
		} else if err := d.waits(ctx, name); err != nil {
			return err
		}
		if !rest(ctx, d.span(400*time.Millisecond)) {
			return ctx.Err()
		}
	}
	d.explain("Who waits is served in the order in which it has asked, also across machines.")
	from := d.count()
	for n := permits + 1; n <= workers; n++ {
		name := fmt.Sprintf("worker-%d", n)
		if _, ok := d.await(ctx, from, func(e Event) bool { return e.Kind == Got && e.Who == name }); !ok {
			return ctx.Err()
		}
	}
	return nil
}

// waits tells that a worker stands in the queue, when it does.
func (d *Demo) waits(ctx context.Context, name string) error {
	place := 0
	_, err := d.until(ctx, func(s *lease.State) bool {
		at := slices.IndexFunc(s.Waiters, func(w lease.Waiter) bool { return show.Owner(w.Owner) == name })
		place = at + 1
		return at >= 0
	})
	if err == nil {
		d.tell(Event{Who: name, Text: fmt.Sprintf("waits: all %d permits are taken; its place in the queue is %d", permits, place), Kind: Waits, Name: gpu})
	}
	return err
}

// once has two machines begin the nightly report at the same instant.
func (d *Demo) once(ctx context.Context) error {
	d.scene("Two machines start the nightly report at the same second; its semaphore has one permit.")
	var both sync.WaitGroup
	errs := make([]error, 2)
	for i := range errs {
		both.Go(func() { errs[i] = d.reports(ctx, fmt.Sprintf("cron-%d", i+1)) })
	}
	both.Wait()
	return errors.Join(errs...)
}

// reports writes the nightly report, unless somebody else does.
func (d *Demo) reports(ctx context.Context, name string) error {
	p, err := d.process(name)
	if err != nil {
		return err
	}
	defer p.die()
	s, err := p.manager.Semaphore(lease.Config{Name: report, Capacity: 1, TTL: d.span(ttl)})
	if err != nil {
		return err
	}
	l, err := s.Acquire(ctx, lease.Label("report"), lease.MaxWait(-1))
	if errors.Is(err, lease.ErrAtCapacity) {
		d.tell(Event{Who: name, Text: "finds the permit taken, and leaves: the report is written once", Kind: Refused, Name: report})
		return nil
	}
	if err != nil {
		return err
	}
	d.tell(Event{Who: name, Text: "gets the permit, and writes the report", Kind: Got, Name: report, Token: l.Token()})
	if !rest(ctx, d.span(3*time.Second)) {
		return ctx.Err()
	}
	return l.Release()
}

// crash kills a worker: its permit is free when the TTL is over, and not before.
func (d *Demo) crash(ctx context.Context) error {
	w, l, err := d.freshHolder(ctx)
	if err != nil {
		return err
	}
	slot, from := l.Slots()[0], d.count()
	d.scene("A crash: a process ends in the middle of its work.")
	w.kill()
	expires, err := d.expiry(ctx, l.ID())
	if err != nil {
		return err
	}
	crash := d.tell(Event{
		Who: w.name, Kind: Crashed, Name: gpu, Slot: slot, Expires: expires,
		Text: fmt.Sprintf("is killed. Nobody gives its permit back: Redis keeps it until %s, when the TTL is over", d.after(expires)),
	})
	next, err := d.nextIn(ctx, from, slot)
	if err != nil {
		return err
	}
	d.explain("%s has the permit of %s %.1f s after the crash: when the TTL was over, and not before.", next.Who, w.name, next.At.Sub(crash.At).Seconds())
	if !rest(ctx, d.span(time.Second)) {
		return ctx.Err()
	}
	d.tell(Event{Who: w.name, Text: "is started again, and asks for a permit", Kind: NewStart})
	return d.startWorker(w.number)
}

// stall cuts a worker off: it is told to stop before Redis gives its permit to somebody else.
func (d *Demo) stall(ctx context.Context) error {
	w, l, err := d.freshHolder(ctx)
	if err != nil {
		return err
	}
	slot, from := l.Slots()[0], d.count()
	d.scene("The network fails: a process that holds a permit no longer reaches Redis.")
	w.link.become(stalled)
	defer w.link.become(open)
	d.tell(Event{Who: w.name, Text: "works on, but cannot renew its lease", Kind: Stalled, Name: gpu, Slot: slot})
	stop, ok := d.await(ctx, from, func(e Event) bool { return e.Kind == Stopped && e.Who == w.name })
	if !ok {
		return ctx.Err()
	}
	expires, err := d.expiry(ctx, l.ID())
	if err != nil {
		return err
	}
	if !expires.IsZero() {
		d.explain("Redis keeps the permit of %s until %s: it was told %d ms before.", w.name, d.after(expires), expires.Sub(stop.At).Milliseconds())
	}
	next, err := d.nextIn(ctx, from, slot)
	if err != nil {
		return err
	}
	d.explain("%s stopped at %s, %s began at %s: the two never worked under one permit.", w.name, d.after(stop.At), next.Who, d.after(next.At))
	if !rest(ctx, d.span(time.Second)) {
		return ctx.Err()
	}
	w.link.become(open)
	d.tell(Event{Who: w.name, Text: "reaches Redis again, and asks for a permit", Kind: Healed})
	return nil
}

// pause has an operator stop the fleet for a while.
func (d *Demo) pause(ctx context.Context) error {
	d.scene("An operator stops the fleet for a repair.")
	if err := d.Operator.Pause(ctx, gpu, lease.Reason("new driver")); err != nil {
		return err
	}
	d.tell(Event{Who: "operator", Text: "pauses gpu: who holds a permit keeps it, and nobody gets a new one (passbuddy pause gpu)", Kind: Paused, Name: gpu})
	if _, err := d.until(ctx, func(s *lease.State) bool { return s.Held == 0 }); err != nil {
		return err
	}
	if !rest(ctx, d.span(300*time.Millisecond)) { // until the last of them asks again
		return ctx.Err()
	}
	s, err := d.Operator.Inspect(ctx, gpu)
	if err != nil {
		return err
	}
	d.tell(Event{Text: fmt.Sprintf("All permits are back, and %d workers wait: time for a repair.", len(s.Waiters)), Kind: AllBack, Name: gpu})
	if !rest(ctx, d.span(1500*time.Millisecond)) {
		return ctx.Err()
	}
	from := d.count()
	d.tell(Event{Who: "operator", Text: "resumes gpu: who waits is served, the first in the queue first", Kind: Resumed, Name: gpu}) // before their news
	if err := d.Operator.Resume(ctx, gpu); err != nil {
		return err
	}
	for range permits {
		e, ok := d.await(ctx, from, func(e Event) bool { return e.Kind == Got && e.Name == gpu })
		if !ok {
			return ctx.Err()
		}
		from = e.Number + 1
	}
	return nil
}

// revoke has an operator take a permit away.
func (d *Demo) revoke(ctx context.Context) error {
	w, l, err := d.freshHolder(ctx)
	if err != nil {
		return err
	}
	slot, from := l.Slots()[0], d.count()
	d.scene("An operator takes one permit away.")
	revoked := d.tell(Event{Who: "operator", Text: fmt.Sprintf("takes the permit of %s away (passbuddy revoke gpu ID)", w.name), Kind: Revoked, Name: gpu, Slot: slot})
	if err := d.Operator.Revoke(ctx, gpu, l.ID()); err != nil {
		return err
	}
	stop, ok := d.await(ctx, from, func(e Event) bool { return e.Kind == Stopped && e.Who == w.name })
	if !ok {
		return ctx.Err()
	}
	next, err := d.nextIn(ctx, from, slot)
	if err != nil {
		return err
	}
	d.explain("%s was told within %d ms. It gave its permit back, and %s had it %d ms later.", w.name,
		stop.At.Sub(revoked.At).Milliseconds()+1, next.Who, next.At.Sub(stop.At).Milliseconds()+1)
	return nil
}
