package sim

import (
	"strings"
	"time"

	"github.com/eqworks/passbuddy/internal/hooks"
)

// checkLeft judges what processes that have ended by themselves have left behind.
func (c *checker) checkLeft(f *fleet) {
	c.network.exec.Lock()
	defer c.network.exec.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range c.sems {
		v := w.look(c.network, time.Now())
		for _, p := range f.alive() {
			for id, h := range v.holders {
				// A request that came twice may leave a permit that nobody knows. It lasts for a TTL; and after a step back of
				// the clock until somebody finds no room: takeAll judges that.
				if h.live > 0 && strings.HasPrefix(ownerOf(id), p.name+"~") && c.granted[id].epoch == c.epochs {
					c.violateLocked("promise 7: %s of %s is held, and its process has ended", id, w.name)
				}
			}
			for id := range v.queue {
				if strings.HasPrefix(ownerOf(id), p.name+"~") {
					c.violateLocked("promise 7: %s of %s waits, and its process has ended", id, w.name)
				}
			}
			if n := hooks.IgnoredMessages(p.manager); n > 0 && c.garbage == 0 {
				c.violateLocked("promise 9: %d messages to %s made no sense", n, p.name)
			}
		}
		for x := range w.waits {
			c.violateLocked("leak: a call of Acquire for %s goes on: %v", w.name, x.begin)
		}
	}
}

// checkEmpty judges the end: nothing counts any more, and no key is left but the fence and, for a day, the
// holders' with nobody in it.
func (c *checker) checkEmpty() {
	c.network.exec.Lock()
	defer c.network.exec.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.network.expire()
	for _, w := range c.sems {
		v := w.look(c.network, time.Now())
		for id, h := range v.holders {
			if h.live > 0 {
				c.violateLocked("promise 7: %s of %s is left over", id, w.name)
			}
		}
		if len(v.queue) > 0 || len(v.alive) > 0 {
			c.violateLocked("promise 7: somebody waits for %s at the end: %s", w.name, v)
		}
	}
}
