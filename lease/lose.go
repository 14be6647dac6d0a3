package lease

import "github.com/eqworks/passbuddy/internal/hooks"

func init() {
	hooks.Lose = func(l any) { l.(*Lease).hold.lose() }
}

// lose does what the end of the trust window would do. Nothing happens to a lease that has ended.
func (h *hold) lose() {
	c := h.conversation
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return
	}
	now := c.manager.now()
	c.desk.tick(now)
	if g := h.grant; g.state == held && g.hold == &h.holding {
		c.desk.lose(now, g, expired)
	}
	c.unlock(now, false)
}
