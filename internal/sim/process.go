package sim

import (
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
)

// A process has a manager, a client and callers. While it is paused nothing in it runs: no timer, no
// byte from or to the network, no caller.
type process struct {
	name    string
	host    *Host
	client  redis.UniversalClient
	manager *lease.Manager
	sems    []*lease.Semaphore

	perSemaphore int // callers

	mu     sync.Mutex
	paused chan struct{} // closed on resume; nil: it runs
	woke   time.Time     // when it was resumed last
	dead   bool
}

// gate returns when the process runs, and reports whether it lives.
func (p *process) gate() bool {
	for {
		p.mu.Lock()
		paused, dead := p.paused, p.dead
		p.mu.Unlock()
		if paused == nil || dead {
			return !dead
		}
		<-paused
	}
}

func (p *process) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.paused == nil && !p.dead {
		p.paused = make(chan struct{})
	}
}

// resume wakes the process up. The first that runs in it asks the contexts, as the promise has it.
func (p *process) resume(ask func()) {
	p.mu.Lock()
	paused := p.paused
	p.mu.Unlock()
	if paused == nil {
		return
	}
	ask()
	p.mu.Lock()
	p.paused, p.woke = nil, time.Now()
	p.mu.Unlock()
	close(paused)
}

// pausedSince reports whether the process has been paused at any time since then.
func (p *process) pausedSince(then time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused != nil || p.woke.After(then)
}

func (p *process) isDead() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dead
}

// runs reports whether the process lives and is not paused.
func (p *process) runs() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused == nil && !p.dead
}

// A processClock holds timers back while the process is paused.
type processClock struct {
	clock.Clock
	process *process
}

func (c processClock) AfterFunc(d time.Duration, f func()) *clock.Timer {
	return c.Clock.AfterFunc(d, func() {
		c.process.gate()
		f()
	})
}

// A processConn holds bytes back while the process is paused.
type processConn struct {
	net.Conn
	process *process
}

func (c processConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.process.gate()
	return n, err
}

func (c processConn) Write(b []byte) (int, error) {
	c.process.gate()
	return c.Conn.Write(b)
}

// SyscallConn lets go-redis see that an idle connection was reset.
func (c processConn) SyscallConn() (syscall.RawConn, error) {
	return c.Conn.(syscall.Conn).SyscallConn()
}
