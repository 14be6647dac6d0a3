package sim

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// An operator resizes, pauses, looks and revokes, through whichever process is there. One that is cut off
// in the middle comes back: no semaphore stays paused.
type operator struct {
	fleet *fleet
	turn  chan struct{} // full: somebody gives orders

	// of whoever gives orders
	rand   *rand.Rand
	orders int
}

func (o *operator) upTo(d time.Duration) time.Duration { return time.Duration(o.rand.Int64N(int64(d))) }

func (o *operator) run() {
	ttl := o.fleet.shortestTTL()
	pace := rand.New(rand.NewPCG(o.fleet.plan.Seed, 5)) // o.rand is for whoever has the turn
	for sleep(o.fleet.stop, time.Duration(pace.Int64N(int64(8*ttl)))) {
		select {
		case o.turn <- struct{}{}:
		case <-o.fleet.stop.Done():
			return
		}
		o.order(o.rand.IntN(len(o.fleet.sems)))
		<-o.turn
	}
}

// order gives one order for the i-th semaphore.
func (o *operator) order(i int) {
	o.orders++
	s := o.fleet.sems[i]
	switch o.rand.IntN(8) {
	case 0, 1:
		o.try(i, func(ctx context.Context, h *lease.Semaphore) error {
			return h.Resize(ctx, 1+o.rand.IntN(s.largest()+2))
		})
	case 2:
		o.try(i, func(ctx context.Context, h *lease.Semaphore) error { return h.Pause(ctx) })
		sleep(o.fleet.stop, o.upTo(2*o.fleet.shortestTTL()))
		o.reset(i)
	case 3:
		o.reset(i)
	case 4, 5, 6:
		o.try(i, func(ctx context.Context, h *lease.Semaphore) error {
			state, err := h.Inspect(ctx)
			if err != nil || len(state.Holders) == 0 {
				return err
			}
			id := state.Holders[o.rand.IntN(len(state.Holders))].ID
			o.fleet.checker.revoking(id)
			return h.Revoke(ctx, id)
		})
	case 7:
		o.try(i, func(ctx context.Context, h *lease.Semaphore) error { return h.Revoke(ctx, "nobody@nowhere#3") })
	}
}

// try has a random process carry out an order. It reports whether that worked.
func (o *operator) try(i int, order func(context.Context, *lease.Semaphore) error) bool {
	alive := o.fleet.alive()
	p := alive[o.rand.IntN(len(alive))]
	if !p.runs() {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), o.fleet.shortestTTL())
	defer cancel()
	err := order(ctx, p.sems[i])
	switch {
	case err == nil, errors.Is(err, lease.ErrUnknownID), errors.Is(err, lease.ErrClosed), errors.As(err, new(*lease.RedisError)):
	default:
		o.fleet.checker.violate("promise 6: an operator's order failed for no reason that the documentation knows: %v", err)
	}
	return err == nil
}

// reset takes the operator's override away, whoever has to do it.
func (o *operator) reset(i int) {
	for !o.try(i, func(ctx context.Context, h *lease.Semaphore) error { return h.ResetCapacity(ctx) }) {
		time.Sleep(o.fleet.shortestTTL() / 4)
	}
}

// rest has the operator interfere no more, until resume.
func (o *operator) rest() { o.turn <- struct{}{} }

func (o *operator) resume() { <-o.turn }

// putBack removes every override. Again after a while: an order may be on its way, or come twice.
func (o *operator) putBack() {
	if o.fleet.operated {
		for i := range o.fleet.sems {
			o.reset(i)
		}
	}
}
