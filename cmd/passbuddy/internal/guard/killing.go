package guard

import (
	"syscall"
	"time"
)

// A command is what runs under the lease: the process that was started, and all that it has started.
type command struct {
	front  int    // its parent; 0: that has ended
	keeper int    // the front's other child, which is none of it
	pid    int    // the process that was started
	group  int    // its process group, if it has one of its own
	mark   string // in its environment
}

// signal sends a signal to the command's group, or to the process that was started where it has none.
func (c *command) signal(s syscall.Signal) {
	if c.group > 0 {
		_ = syscall.Kill(-c.group, s)
	} else if c.pid > 0 {
		_ = syscall.Kill(c.pid, s)
	}
}

// kill ends all processes, again and again until none is left, for at most that time. It returns those that are left.
// reap is called between two rounds.
func (c *command) kill(atMost time.Duration, reap func()) (left []process) {
	end := now().add(atMost)
	for pause := time.Millisecond; ; pause = min(2*pause, 20*time.Millisecond) {
		if c.group > 0 {
			_ = syscall.Kill(-c.group, syscall.SIGKILL)
		}
		for _, deep := range []bool{false, true} { // those that are quickly found first
			left = c.processes(deep)
			for _, p := range left {
				_ = syscall.Kill(p.pid, syscall.SIGKILL)
			}
		}
		reap()
		if len(left) == 0 || now() >= end {
			return left
		}
		time.Sleep(pause) // the kernel needs a moment
	}
}
