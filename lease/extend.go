package lease

import (
	"cmp"
	"context"

	"github.com/eqworks/passbuddy/internal/protocol"
)

// An extension is a caller who waits for a renewal that was sent since it asked.
type extension struct {
	grant *protocol.Grant
	end   protocol.Instant // a window that ends then or later comes from such a renewal
	done  chan bool
}

// extend renews the permit at once and waits for Redis's answer. Trouble is ridden out, as by any renewal.
// It returns nil when the permit was renewed, and the reason when the lease ended first or ctx did.
func (h *hold) extend(ctx context.Context) error {
	c := h.conversation
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return h.endAsDecided()
	}
	now := c.manager.now()
	c.desk.Tick(now)
	x := extension{grant: h.Grant, end: now.Add(c.desk.Window), done: make(chan bool, 1)}
	c.extends = append(c.extends, x)
	if h.Grant.State == protocol.Held {
		c.desk.RenewAt = now
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

// endAsDecided ends the lease of a permit that the desk no longer holds, and returns why. Whoever took it
// away may not have come to that yet.
func (h *hold) endAsDecided() error {
	h.conversation.mu.Lock()
	why := h.Ending
	h.conversation.mu.Unlock()
	return h.end(cmp.Or(h.errorOf(why), ErrReleased))
}

// settleExtensions tells those whose permit was renewed, or is no longer held. c.mu is held.
func (c *conversation) settleExtensions() {
	if len(c.extends) == 0 {
		return
	}
	waiting := c.extends[:0]
	for _, x := range c.extends {
		switch {
		case x.grant.State != protocol.Held:
			x.done <- false
		case x.grant.Until.End().Mono >= x.end.Mono:
			x.done <- true
		default:
			waiting = append(waiting, x)
		}
	}
	clear(c.extends[len(waiting):])
	if c.extends = waiting; len(waiting) == 0 {
		c.extends = nil
	}
}
