package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// chaos is the trouble that a fleet meets.
type chaos struct {
	fleet    *fleet
	rand     *rand.Rand
	troubles int
	offset   time.Duration // of the server's clock
}

func (c *chaos) upTo(d time.Duration) time.Duration { return time.Duration(c.rand.Int64N(int64(d))) }

// run makes trouble for d, one after the other.
func (c *chaos) run(d time.Duration) {
	ttl := c.fleet.shortestTTL()
	end := time.Now().Add(d)
	calm := time.Now().Add(d / 3)
	for time.Now().Before(end) {
		c.troubles++
		if time.Now().After(calm) {
			calm = time.Now().Add(d / 3)
			c.fleet.calm(true)
		}
		if c.fleet.plan.Gentle {
			time.Sleep(2*ttl + c.upTo(4*ttl))
			c.gentle(c.upTo(ttl * 3 / 10))
		} else {
			time.Sleep(c.upTo(4 * ttl))
			c.hard(c.upTo(2 * ttl))
		}
	}
}

func (c *chaos) process() *process {
	alive := c.fleet.alive()
	return alive[c.rand.IntN(len(alive))]
}

// A gentleKind is a trouble that costs no lease.
type gentleKind int

const (
	refuse gentleKind = iota
	stall
	flushScripts
	restart
	errorReply
	pauseProcess
	loseQueue
	publishGarbage
	stepClock
	moveSlot
	fillMemory
	farServer
	slowScripts
	shortReplies
	otherNode
	gentleKinds
)

// gentle makes trouble for d that costs no lease.
func (c *chaos) gentle(d time.Duration) {
	n := c.fleet.network
	kind := gentleKind(c.rand.IntN(int(gentleKinds)))
	if c.steps() && (kind == flushScripts || kind == pauseProcess || kind == publishGarbage) {
		kind = stepClock
	}
	if kind == moveSlot && !c.fleet.clustered { // a server without slots would say otherwise that it is one of a Cluster
		kind = fillMemory
	}
	if kind != stepClock && kind != otherNode {
		c.fleet.checker.blur(time.Hour)
		defer c.fleet.checker.blur(2 * c.fleet.longestTTL())
	}
	c.fleet.checker.trouble(fmt.Sprintf("gentle %d", kind), d)
	switch kind {
	case refuse:
		p := c.process()
		p.host.Refuse()
		time.Sleep(d)
		p.host.Heal()
	case stall:
		n.Stall()
		time.Sleep(d)
		n.Resume()
	case flushScripts:
		n.FlushScripts()
	case restart:
		if c.fleet.replicated {
			c.failOver(d)
		} else {
			n.Restart(true)
		}
	case errorReply:
		n.SetError([]string{"LOADING loading", "READONLY replica", "CLUSTERDOWN down", "MASTERDOWN down", "BUSY script"}[c.rand.IntN(5)])
		time.Sleep(d)
		n.SetError("")
	case pauseProcess:
		p := c.process()
		c.pause(p, d)
	case loseQueue: // the queue is gone, and the permits are not
		n.Look(func(r *miniredis.Miniredis) {
			for _, s := range c.fleet.sems {
				r.Del("{passbuddy-" + s.name + "}:queue")
				if c.rand.IntN(2) == 0 {
					r.Del("{passbuddy-" + s.name + "}:alive")
				}
			}
			c.fleet.checker.lookAgain()
		})
	case publishGarbage:
		c.garbage()
	case stepClock:
		if n.FlushScripts(); c.steps() {
			c.step(c.smallStep(d))
		}
	case moveSlot: // a slot of a Cluster takes longer than a TTL to move
		n.SetMoving(true)
		time.Sleep(c.upTo(3 * c.fleet.longestTTL()))
		n.SetMoving(false)
	case fillMemory: // nobody can be granted anything, for longer than a TTL
		n.SetMemoryFull(true)
		time.Sleep(c.upTo(3 * c.fleet.longestTTL()))
		n.SetMemoryFull(false)
	case farServer: // the way to the server is long, for longer than a TTL; not so long that no connection can be made anew
		c.farAway(c.fleet.shortestTTL() / 10)
	case slowScripts: // and a script with many ids takes long
		n.SetSlowness(c.upTo(c.fleet.shortestTTL() / 10 / c.fleet.work()))
		time.Sleep(c.upTo(3 * c.fleet.longestTTL()))
		n.SetSlowness(0)
	case shortReplies: // something cuts what scripts answer
		n.SetShortReplies(true)
		time.Sleep(d)
		n.SetShortReplies(false)
	case otherNode: // another node takes over; its clock is as far off as one may be set
		by := time.Duration(0)
		if c.steps() {
			by = c.smallStep(d / 2)
		}
		c.takeOver(by)
	}
}

// farAway has a round trip take from half of trip to trip, for a while.
func (c *chaos) farAway(trip time.Duration) {
	f := Faults{Latency: trip/4 + c.upTo(trip/4), Jitter: trip / 20}
	f.Latency = max(f.Latency-f.Jitter, 0)
	c.fleet.network.SetFaults(f)
	time.Sleep(c.upTo(3 * c.fleet.longestTTL()))
	c.fleet.trouble(c.fleet.network, true)
}

// takeOver has another node with the same data take the server's place, whose clock differs by so much. In a
// fleet that knows a Cluster it has another address.
func (c *chaos) takeOver(by time.Duration) {
	if by != 0 {
		c.offset += by
		c.fleet.checker.epoch(func() { c.fleet.network.SetClockOffset(c.offset); c.fleet.moveOn() })
	} else {
		c.fleet.moveOn()
	}
}

// failOver has a replica take over that has lagged behind for d. What it has not acknowledged is lost.
func (c *chaos) failOver(d time.Duration) {
	replica := c.fleet.network.StopReplica()
	time.Sleep(d)
	replica.TakeOver(c.fleet.checker.lookAgain)
}

// steps reports whether the server's clock steps in a gentle fleet, by less than a third of any window: in every second
// one. What is judged by a clock that never steps is judged in the others.
func (c *chaos) steps() bool { return c.fleet.plan.Seed/4%2 == 0 }

// smallStep is from a millisecond to d, either way, small ones as often as large ones.
func (c *chaos) smallStep(d time.Duration) time.Duration {
	by := max(d>>c.rand.IntN(10), time.Millisecond)
	if c.rand.IntN(2) == 0 {
		return -by
	}
	return by
}

// anyStep is from a millisecond to 18 hours, either way.
func (c *chaos) anyStep() time.Duration {
	by := time.Millisecond << c.rand.IntN(27)
	if c.rand.IntN(2) == 0 {
		return -by
	}
	return by
}

// step sets the server's clock.
func (c *chaos) step(by time.Duration) {
	c.offset += by
	c.fleet.checker.epoch(func() { c.fleet.network.SetClockOffset(c.offset) })
}

// garbage is what other publishers say in a channel.
func (c *chaos) garbage() {
	c.fleet.checker.mu.Lock()
	c.fleet.checker.garbage++
	c.fleet.checker.mu.Unlock()
	c.fleet.network.Look(func(r *miniredis.Miniredis) {
		for _, channel := range r.PubSubChannels("passbuddy:inbox:*") {
			owner := strings.TrimPrefix(channel, "passbuddy:inbox:")
			for _, message := range []string{
				"", "grant", "grant 1 2 3", "grant 1 2 3 x@" + owner + " other-s0", "revoke 0 0 x@" + owner + " passbuddy-s0",
				"grant -1 99999999999999999999 0 x@" + owner + " passbuddy-s0", "grant 1 2 3 x@somebody passbuddy-s0",
				"refuse 1 0 0 x@" + owner + "#7 passbuddy-s0", "grant 99999999999999 1 3 x@" + owner + "#3 passbuddy-s0",
				"grant=0 1 2 3 x@" + owner + "#3 passbuddy-s0", "grant=x 1 2 3 x@" + owner + " passbuddy-s0", "grant 1 2 3 x: y@" + owner + " passbuddy-s0",
			} {
				r.Publish(channel, message)
			}
		}
	})
}

func (c *chaos) pause(p *process, d time.Duration) {
	p.pause()
	time.Sleep(d)
	p.resume(func() { c.fleet.checker.ask(p) })
}

// A hardKind is any trouble.
type hardKind int

const (
	anyGentle hardKind = iota
	anyGentleToo
	partition
	killProcess
	pauseLong
	loseData
	stepByHalfATTL
	stallLong
	setDate
	otherClock
	veryFar
	deny
	hardKinds
)

// hard makes any trouble for d.
func (c *chaos) hard(d time.Duration) {
	n := c.fleet.network
	kind := hardKind(c.rand.IntN(int(hardKinds)))
	if c.fleet.checker.plain && c.rand.IntN(2) == 0 {
		kind = setDate // there it is judged most strictly
	}
	if kind > anyGentleToo && kind != stepByHalfATTL && kind != setDate && kind != otherClock { // gentle sees to its own
		c.fleet.checker.blur(time.Hour)
		defer c.fleet.checker.blur(2 * c.fleet.longestTTL())
	}
	c.fleet.checker.trouble(fmt.Sprintf("hard %d", kind), d)
	switch kind {
	case anyGentle, anyGentleToo:
		c.gentle(d)
	case partition:
		p := c.process()
		p.host.Partition()
		time.Sleep(d)
		p.host.Heal()
	case killProcess:
		c.fleet.kill(c.process())
		c.fleet.spawn(c.rand)
	case pauseLong:
		p := c.process()
		c.pause(p, 2*d)
	case loseData:
		if c.fleet.replicated {
			c.failOver(d)
			return
		}
		c.fleet.checker.epoch(func() { n.Restart(false); c.fleet.checker.empty() })
	case stepByHalfATTL:
		by := c.upTo(c.fleet.longestTTL()) - c.fleet.longestTTL()/2
		if c.fleet.clustered {
			c.takeOver(c.anyStep())
		} else {
			c.step(by)
		}
	case stallLong:
		n.Stall()
		time.Sleep(d)
		if c.rand.IntN(2) == 0 {
			n.Restart(true)
		}
		n.Resume()
	case setDate: // somebody sets the date
		c.step(c.anyStep())
	case otherClock:
		c.takeOver(c.anyStep())
	case veryFar:
		c.farAway(c.fleet.shortestTTL())
	case deny: // somebody takes the permission for what grants and renews away from a process
		host := c.process().host
		before := host.DenyToo("ZADD")
		time.Sleep(d)
		host.Deny(before...)
	}
}
