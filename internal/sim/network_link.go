package sim

import (
	"io"
	"strings"
	"syscall"
	"time"
)

// serve is the server's end of the connection: it executes requests as they
// arrive, until the client has hung up and nothing is under way any more, or
// the connection is reset.
func (c *conn) serve() {
	defer c.hangUp()
	for {
		r, ok := c.next()
		if !ok || !c.handle(r) {
			return
		}
	}
}

// next waits for the next request to arrive.
func (c *conn) next() (request, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for !c.gone {
		var wake time.Time
		if len(c.queue) > 0 {
			r := c.queue[0]
			if !r.arrives.After(time.Now()) {
				c.queue[0] = request{}
				c.queue = c.queue[1:]
				return r, true
			}
			wake = r.arrives
		} else if c.closed {
			return request{}, false
		}
		c.arrived.wait(wake)
	}
	return request{}, false
}

// handle lets a request meet its fate; false ends the connection.
func (c *conn) handle(r request) bool {
	switch {
	case r.fate.dropRequest:
		c.mu.Lock()
		c.queue = nil
		c.mu.Unlock()
		c.blackHole()
		return true
	case r.fate.cutRequest:
		c.reset()
		return false
	}

	verb := strings.ToUpper(r.cmd[0])
	if verb == "SUBSCRIBE" || verb == "PSUBSCRIBE" {
		c.mu.Lock()
		c.subscribed = true
		c.mu.Unlock()
	}
	n := c.host.network
	// The answer leaves before the server does anything else, so that no
	// message of a channel comes before the word that it is subscribed.
	if !n.execute(c.host.name, c.peer, r.cmd, c.multi, c.live, func() { c.answer(r) }) {
		return false
	}
	switch verb {
	case "MULTI":
		c.multi = true
	case "EXEC", "DISCARD":
		c.multi = false
	case "SELECT":
		if len(r.cmd) > 1 {
			c.db = r.cmd[1]
		}
	}
	if r.fate.duplicate && !c.multi && standsAlone(r.cmd) {
		n.repeat(c.host.name, c.db, r.cmd, r.fate.duplicateAfter)
	}
	return c.live()
}

// answer sends what the server wrote for the request that it just executed.
func (c *conn) answer(r request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f := r.fate
	reply := c.reply
	c.reply = nil
	switch {
	case f.dropReply:
		c.blackHoleLocked()
	case f.cutReply:
		c.resetLocked()
	default:
		failing := len(reply) > 0 && reply[0] == '-'
		c.sendLocked(chunk{data: reply, replies: 1, failing: failing, news: c.host.network.newsIn(reply, r.cmd)}, f.back)
		if c.peer.Closed() { // QUIT
			c.sendLocked(chunk{err: io.EOF}, f.back)
			c.gone = true
		}
	}
}

// hangUp ends the server's end.
func (c *conn) hangUp() {
	n := c.host.network
	c.mu.Lock()
	c.gone = true
	c.queue = nil
	c.arrived.stop()
	subscribed := c.subscribed
	c.mu.Unlock()
	if subscribed {
		// What miniredis does for a peer of its own when that disconnects.
		n.exec.Lock()
		n.srv.Dispatch(c.peer, []string{"UNSUBSCRIBE"})
		n.srv.Dispatch(c.peer, []string{"PUNSUBSCRIBE"})
		n.exec.Unlock()
	}
	n.mu.Lock()
	delete(c.host.conns, c)
	n.mu.Unlock()
}

// live says whether the server's end still runs.
func (c *conn) live() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.gone
}

// blackHole makes the connection swallow all that is written from now on, and
// all that is on its way to the client. Requests under way still arrive.
func (c *conn) blackHole() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.blackHoleLocked()
}

func (c *conn) blackHoleLocked() {
	c.dead = true
	now := time.Now()
	for i, x := range c.inbound {
		if x.arrives.After(now) {
			c.inbound = c.inbound[:i]
			break
		}
	}
}

// reset ends the server's end at once, with all that is under way to it. The
// client learns of it behind what was sent before, unless it is cut off.
func (c *conn) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.resetLocked()
}

func (c *conn) resetLocked() {
	if c.gone {
		return
	}
	c.sendLocked(chunk{err: syscall.ECONNRESET}, 0)
	c.gone = true
	c.queue = nil
	c.arrived.Broadcast()
}

// sendLocked sends x to the client, to arrive after d and not before what was
// sent before.
func (c *conn) sendLocked(x chunk, d time.Duration) {
	if c.dead || c.gone || c.closed || (x.err == nil && len(x.data) == 0) {
		return
	}
	x.arrives = time.Now().Add(d)
	if i := len(c.inbound) - 1; i >= 0 {
		last := &c.inbound[i]
		x.arrives = later(x.arrives, last.arrives)
		if x.err == nil && last.arrives.Equal(x.arrives) {
			last.data = append(last.data, x.data...)
			last.news = append(last.news, x.news...)
			last.replies += x.replies
			last.failing = last.failing || x.failing
			c.readable.Broadcast()
			return
		}
	}
	c.inbound = append(c.inbound, x)
	c.readable.Broadcast()
}

// sink is where miniredis writes what it has to say on a connection: replies,
// from inside execute, and pub/sub messages, from a goroutine per subscriber.
type sink conn

func (s *sink) Write(p []byte) (int, error) {
	c := (*conn)(s)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.subscribed {
		c.reply = append(c.reply, p...)
		return len(p), nil
	}
	c.raw = append(c.raw, p...)
	for {
		n, err := frameLen(c.raw)
		if err != nil {
			panic("sim: miniredis wrote something strange: " + string(c.raw))
		}
		if n == 0 {
			return len(p), nil
		}
		frame := c.raw[:n:n]
		if isMessage(frame) {
			c.pushLocked(frame)
		} else {
			c.reply = append(c.reply, frame...)
		}
		c.raw = c.raw[n:]
	}
}

// pushLocked sends a pub/sub message on its way, with one reply's latency.
func (c *conn) pushLocked(frame []byte) {
	f := c.host.network.messageFaults.Load()
	lost := happens(c.messages, f.drop)
	held, by := happens(c.messages, f.delay), upTo(c.messages, f.upTo)
	faults := c.host.faults.Load()
	d := faults.Latency + upTo(c.messages, faults.Jitter)
	again, after := happens(c.messages, f.duplicate), upTo(c.messages, f.duplicateAfter)
	if lost {
		return
	}
	if held {
		d += by
	}
	data := append([]byte(nil), frame...)
	c.sendLocked(chunk{data: data}, d)
	if again {
		n := c.host.network
		n.wg.Go(func() {
			if n.sleep(d + after) {
				c.mu.Lock()
				defer c.mu.Unlock()
				c.sendLocked(chunk{data: append([]byte(nil), data...)}, 0)
			}
		})
	}
}
