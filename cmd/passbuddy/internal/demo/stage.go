package demo

import (
	"context"
	"fmt"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// What the scenes have in common.

// freshHolder finds a worker that has just got a permit, and has it work until it is told to stop.
func (d *Demo) freshHolder(ctx context.Context) (*worker, *lease.Lease, error) {
	for {
		e, ok := d.await(ctx, d.count(), func(e Event) bool { return e.Kind == Got && e.Name == gpu })
		if !ok {
			return nil, nil, ctx.Err()
		}
		d.mu.Lock()
		w := d.atWork[e.Who]
		l := d.holding[w]
		if l != nil {
			w.endless.Store(true)
		}
		d.mu.Unlock()
		if l != nil && rest(ctx, d.span(700*time.Millisecond)) && l.Valid() {
			return w, l, nil
		}
	}
}

// expiry is until when Redis keeps a permit.
func (d *Demo) expiry(ctx context.Context, id string) (time.Time, error) {
	s, err := d.Operator.Inspect(ctx, gpu)
	if err != nil {
		return time.Time{}, err
	}
	for _, h := range s.Holders {
		if h.ID == id {
			return h.Expires, nil
		}
	}
	return time.Time{}, nil // it is over
}

// nextIn waits until a slot has its next holder.
func (d *Demo) nextIn(ctx context.Context, from, slot int) (Event, error) {
	e, ok := d.await(ctx, from, func(e Event) bool { return e.Kind == Got && e.Name == gpu && e.Slot == slot })
	if !ok {
		return e, ctx.Err()
	}
	return e, nil
}

// after is the time of an event, as the lines show it.
func (d *Demo) after(t time.Time) string { return fmt.Sprintf("%.2f", t.Sub(d.Began).Seconds()) }

// until looks at gpu until it is as it should be.
func (d *Demo) until(ctx context.Context, is func(*lease.State) bool) (*lease.State, error) {
	for {
		s, err := d.Operator.Inspect(ctx, gpu)
		if err != nil || is(s) {
			return s, err
		}
		if !rest(ctx, 10*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
}
