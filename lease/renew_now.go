package lease

import (
	"cmp"
	"context"

	"github.com/eqworks/passbuddy/internal/protocol"
)

// An immediateRenewal is a caller who waits for a renewal that was sent since it asked.
type immediateRenewal struct {
	grant *protocol.Grant
	end   protocol.Instant // a window that ends then or later comes from such a renewal
	done  chan bool
}

// renewNow renews the permit at once and waits for Redis's answer. Trouble is ridden out, as by any renewal.
// It returns nil when the permit was renewed, and the reason when the lease ended first or ctx did.
func (h *hold) renewNow(ctx context.Context) error {
	c := h.driver
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return h.endAsDecided()
	}
	now := c.manager.now()
	c.state.Tick(now)
	x := immediateRenewal{grant: h.Grant, end: now.Add(c.state.Window), done: make(chan bool, 1)}
	c.immediateRenewals = append(c.immediateRenewals, x)
	if h.Grant.State == protocol.Held {
		c.state.RenewAt = now
	}
	c.unlock(now, false)
	select {
	case renewed := <-x.done:
		if renewed {
			return nil
		}
		return h.endAsDecided()
	case <-ctx.Done():
		return h.semaphore.waitEnded(ctx, nil)
	}
}

// endAsDecided ends the lease of a permit that the state no longer holds, and returns why. Whoever took it
// away may not have come to that yet.
func (h *hold) endAsDecided() error {
	h.driver.mu.Lock()
	why := h.Ending
	h.driver.mu.Unlock()
	return h.end(cmp.Or(h.errorOf(why), ErrReleased))
}

// confirmRenewals tells those whose permit was renewed, or is no longer held. c.mu is held.
func (c *driver) confirmRenewals() {
	if len(c.immediateRenewals) == 0 {
		return
	}
	waiting := c.immediateRenewals[:0]
	for _, x := range c.immediateRenewals {
		switch {
		case x.grant.State != protocol.Held:
			x.done <- false
		case x.grant.Until.End().Mono >= x.end.Mono:
			x.done <- true
		default:
			waiting = append(waiting, x)
		}
	}
	clear(c.immediateRenewals[len(waiting):])
	if c.immediateRenewals = waiting; len(waiting) == 0 {
		c.immediateRenewals = nil
	}
}
