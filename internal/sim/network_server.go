package sim

import (
	"bufio"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// OnCommand has f called for every request, right after the server executed it
// and before anything else happens there, duplicates included. now is the
// bubble's time, not the server's; cmd is the parsed command, not to be changed.
// Inside a MULTI, f hears of each command when it is queued, and of EXEC.
// Pub/sub messages that the command caused may not have been sent yet.
//
// f runs on the server's thread: it may look at [Network.Server] and may use
// hosts and faults, but must not wait for the network, nor call the methods of
// Network that act on the server or Close. Functions add up; they are called
// in order.
func (n *Network) OnCommand(f func(host string, now time.Time, cmd []string)) {
	n.exec.Lock()
	defer n.exec.Unlock()
	n.onCommand = append(n.onCommand, f)
}

// OnPublish has f called for every message that is published, by a script too, before it is sent. f runs on
// the server's thread, in the middle of the request: it may not look at the server.
func (n *Network) OnPublish(f func(channel, message string)) {
	n.exec.Lock()
	defer n.exec.Unlock()
	n.onPublish = append(n.onPublish, f)
}

// before is called before each command, those inside scripts included, and reports whether it answered it.
func (n *Network) before(p *server.Peer, cmd string, args ...string) bool {
	n.dispatched++
	if n.calling != nil && !n.calling.mayRun(cmd) {
		p.WriteError("NOPERM this user has no permissions to run the '" + strings.ToLower(cmd) + "' command")
		return true
	}
	if cmd == "PUBLISH" && len(args) == 2 {
		for _, f := range n.onPublish {
			f(args[0], args[1])
		}
	}
	return false
}

// Look has f look at the server between two requests: what miniredis hands out may be its own data. f runs
// on the server's thread; see [Network.OnCommand].
func (n *Network) Look(f func(*miniredis.Miniredis)) {
	n.exec.Lock()
	defer n.exec.Unlock()
	n.expire()
	f(n.redis)
}

// Stall stops the server, as SIGSTOP would: connections open and take
// requests, but nothing is executed until [Network.Resume].
func (n *Network) Stall() { n.setStalled(true) }

// Resume lets a stalled server go on; it executes what has arrived meanwhile,
// also from connections that their clients have closed since.
func (n *Network) Resume() { n.setStalled(false) }

func (n *Network) setStalled(stalled bool) {
	n.exec.Lock()
	defer n.exec.Unlock()
	n.stalled = stalled
	n.resumed.Broadcast()
}

// Restart is the end of the server's process and the start of the next, at
// once: all connections are reset, with their requests under way and their
// subscriptions; scripts are gone, and so is the data unless keepData. A
// stalled server runs again. The clock goes on with its offset, and a request
// that is waiting to be duplicated still comes.
func (n *Network) Restart(keepData bool) {
	n.exec.Lock()
	defer n.exec.Unlock()
	n.mu.Lock()
	for _, h := range n.hosts {
		for c := range h.conns {
			c.reset()
		}
	}
	n.mu.Unlock()
	n.flushScripts()
	if !keepData {
		n.epoch.Add(1)
		n.redis.FlushAll()
	}
	n.stalled = false
	n.resumed.Broadcast()
}

// SetError has the server answer every request with this error instead of
// executing it ("LOADING …", "READONLY …"), until it is set to the empty string.
// Only what concerns a connection itself (HELLO, SUBSCRIBE, MULTI, …) still
// works.
func (n *Network) SetError(msg string) {
	n.exec.Lock()
	defer n.exec.Unlock()
	n.errorReply = msg
}

// SetMoving has a slot move from the server, or not: it refuses scripts that name several keys, as a server of a Cluster
// does while some of the keys are not there.
func (n *Network) SetMoving(moving bool) {
	n.exec.Lock()
	defer n.exec.Unlock()
	n.moving = moving
}

// SetShortReplies has something between the server and its clients cut the arrays that scripts answer to two elements,
// or not: a proxy, an emulation.
func (n *Network) SetShortReplies(short bool) {
	n.exec.Lock()
	defer n.exec.Unlock()
	n.short = short
}

// SetSlowness is how long a script takes for each argument of the commands that it calls, at the server, which does
// nothing else meanwhile.
func (n *Network) SetSlowness(d time.Duration) {
	n.exec.Lock()
	defer n.exec.Unlock()
	n.slowness = d
}

// SetMemoryFull has the server's memory be full, or not: a script that has not begun to write may not begin with a
// command that takes memory.
func (n *Network) SetMemoryFull(full bool) {
	n.exec.Lock()
	defer n.exec.Unlock()
	n.scripts.full = full
}

// FlushScripts makes the server forget all scripts, so that EVALSHA answers
// NOSCRIPT.
func (n *Network) FlushScripts() {
	n.exec.Lock()
	defer n.exec.Unlock()
	n.flushScripts()
}

func (n *Network) flushScripts() {
	var reply strings.Builder
	p := server.NewPeer(bufio.NewWriter(&reply))
	n.srv.Dispatch(p, []string{"SCRIPT", "FLUSH"})
	n.scripts.forget()
	p.Flush()
	if reply.String() != "+OK\r\n" {
		// Server().SetError answers this command too. Going on with the scripts
		// still there would be a test that tests nothing.
		panic("sim: SCRIPT FLUSH answered " + reply.String())
	}
}

// SetClockOffset makes the server's clock the bubble's plus d, for TIME, inside
// scripts and out, from the next request on. A jump of the clock is a change
// of d.
func (n *Network) SetClockOffset(d time.Duration) {
	n.exec.Lock()
	defer n.exec.Unlock()
	n.offset = d
	n.epoch.Add(1)
	n.redis.SetTime(n.now().Add(d))
}

// ExpireKeys has keys expire by the server's clock, each at most d too early or too late. It costs a pass over all keys each time, where
// Server().ClockTTL costs one for each request.
func (n *Network) ExpireKeys(d time.Duration) {
	n.exec.Lock()
	defer n.exec.Unlock()
	n.expiring, n.expired = d, n.time()
}

// time is what the server's clock shows.
func (n *Network) time() time.Time { return n.now().Add(n.offset) }

// expire sets the server's clock, and lets keys expire.
func (n *Network) expire() {
	at := n.time()
	n.redis.SetTime(at)
	if passed := at.Sub(n.expired); n.expiring > 0 && (passed >= n.expiring || passed < 0) {
		n.redis.FastForward(max(passed, 0)) // a clock that was set back ends nothing
		n.expired = at
	}
}

// SetClock has the server's clock follow another than the system's. It is to be called before the first request.
func (n *Network) SetClock(now func() time.Time) {
	n.exec.Lock()
	defer n.exec.Unlock()
	n.now = now
	n.redis.SetTime(now())
}

// execute has the server run one request for p as soon as it is not stalled,
// and reports whether it did: it does not when the network was closed or live
// says no by then. queue: it is inside a MULTI. What the server answers is written to p's writer; answered is
// called after that, still on the server's thread.
func (n *Network) execute(host string, p *server.Peer, cmd []string, queue bool, live func() bool, answered func()) bool {
	n.exec.Lock()
	defer n.exec.Unlock()
	for (n.stalled || n.busy) && !n.ended {
		n.resumed.Wait()
	}
	if n.ended || !live() {
		return false
	}
	now := time.Now()
	n.expire()
	n.calling, n.dispatched, n.scripts.failed, n.scripts.work = n.Host(host), 0, false, 0
	n.scripts.short = n.short
	switch {
	case blocks(cmd):
		p.WriteError("ERR sim: commands that block are not simulated")
	case n.errorReply != "" && standsAlone(cmd):
		p.WriteError(n.errorReply)
	case n.moving && len(cmd) > 2 && strings.HasPrefix(strings.ToUpper(cmd[0]), "EVAL") && cmd[2] != "1":
		p.WriteError("TRYAGAIN Multiple keys request during rehashing of slot")
	case !queue && strings.EqualFold(cmd[0], "WAIT"):
		p.WriteInt(n.acknowledging)
	case !queue && strings.EqualFold(cmd[0], "ROLE"):
		n.role(p)
	case !queue && strings.EqualFold(cmd[0], "EVALSHA"):
		if !n.before(p, "EVALSHA", cmd[1:]...) {
			n.scripts.evalsha(p, cmd)
		}
	case !queue && n.scripts.learn(cmd) && strings.EqualFold(cmd[0], "EVAL"):
		if !n.before(p, "EVAL", cmd[1:]...) {
			n.scripts.evalsha(p, append([]string{"EVALSHA", nameOf(cmd[1])}, cmd[2:]...))
		}
	default:
		n.srv.Dispatch(p, cmd)
		n.scripts.learn(cmd)
	}
	p.Flush()
	n.calling = nil
	for _, f := range n.onCommand {
		f(host, now, cmd)
	}
	n.takeTime(time.Duration(n.scripts.work) * n.slowness)
	answered()
	return true
}

// role answers ROLE.
func (n *Network) role(p *server.Peer) {
	p.WriteLen(3)
	p.WriteBulk("master")
	p.WriteInt(0)
	p.WriteLen(n.replicas)
	for i := range n.replicas {
		p.WriteStrings([]string{"replica", strconv.Itoa(i), "0"})
	}
}

// takeTime has the server do nothing else for d.
func (n *Network) takeTime(d time.Duration) {
	if d == 0 {
		return
	}
	n.busy = true
	n.wg.Go(func() {
		n.sleep(d)
		n.exec.Lock()
		defer n.exec.Unlock()
		n.busy = false
		n.resumed.Broadcast()
	})
	for n.busy && !n.ended {
		n.resumed.Wait()
	}
}

// repeat executes cmd once more after a while, over a connection that nobody
// reads.
func (n *Network) repeat(host, db string, cmd []string, after time.Duration) {
	n.wg.Go(func() {
		if !n.sleep(after) {
			return
		}
		p := server.NewPeer(bufio.NewWriter(io.Discard))
		if db != "" {
			n.exec.Lock()
			n.srv.Dispatch(p, []string{"SELECT", db})
			n.exec.Unlock()
		}
		n.execute(host, p, cmd, false, func() bool { return true }, func() {})
	})
}

// blocks says whether the server might wait inside cmd.
func blocks(cmd []string) bool {
	switch strings.ToUpper(cmd[0]) {
	case "BLPOP", "BRPOP", "BRPOPLPUSH", "BLMOVE", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP":
		return true
	case "XREAD", "XREADGROUP":
		for _, arg := range cmd {
			if strings.EqualFold(arg, "BLOCK") {
				return true
			}
		}
	}
	return false
}

// standsAlone says whether cmd means the same on another connection.
func standsAlone(cmd []string) bool {
	switch strings.ToUpper(cmd[0]) {
	case "HELLO", "AUTH", "SELECT", "CLIENT", "QUIT", "RESET",
		"SUBSCRIBE", "PSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE",
		"MULTI", "EXEC", "DISCARD", "WATCH", "UNWATCH":
		return false
	}
	return true
}
