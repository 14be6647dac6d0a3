package lease

import (
	"github.com/eqworks/passbuddy/internal/hooks"
	"github.com/eqworks/passbuddy/internal/protocol"
)

func init() {
	hooks.Lose = func(l any) { l.(*Lease).hold.lose() }
}

// lose does what the end of the trust window would do. Nothing happens to a lease that has ended.
func (h *hold) lose() {
	c := h.driver
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return
	}
	now := c.manager.now()
	c.state.Tick(now)
	if g := h.Grant; g.State == protocol.Held && g.Holding == &h.Holding {
		c.state.Lose(now, g, protocol.Expired)
	}
	c.unlock(now, false)
}
