package guard

import (
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// A terminal is the one whose foreground job this process is. A nil one does nothing.
type terminal struct {
	fd    int
	group int // of this process
	modes *term.State
}

// ownTerminal returns the terminal, if standard input and output are it and this process is its foreground job.
func ownTerminal() *terminal {
	in, out := int(os.Stdin.Fd()), int(os.Stdout.Fd())
	if !term.IsTerminal(in) || !term.IsTerminal(out) {
		return nil
	}
	t := &terminal{fd: in, group: unix.Getpgrp()}
	if !t.isOurs() {
		return nil
	}
	t.modes, _ = term.GetState(in)
	return t
}

// hasTerminal reports whether there is a terminal from which the user can send signals.
func hasTerminal() bool {
	tty, err := os.OpenFile("/dev/tty", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	_ = tty.Close()
	return true
}

// isOurs reports whether this process's group is in the foreground.
func (t *terminal) isOurs() bool {
	if t == nil {
		return false
	}
	group, err := unix.IoctlGetInt(t.fd, unix.TIOCGPGRP)
	return err == nil && group == t.group
}

// give puts a group into the foreground.
func (t *terminal) give(group int) {
	if t != nil {
		_ = unix.IoctlSetPointerInt(t.fd, unix.TIOCSPGRP, group)
	}
}

// takeBack puts this process's group into the foreground.
func (t *terminal) takeBack() {
	if t == nil {
		return
	}
	signal.Ignore(syscall.SIGTTOU) // the kernel would stop a process of the background that does this
	t.give(t.group)
	signal.Reset(syscall.SIGTTOU)
}

// restore sets the terminal's modes as they were, when a command was killed that had changed them.
func (t *terminal) restore() {
	if t != nil && t.modes != nil {
		t.takeBack()
		_ = term.Restore(t.fd, t.modes)
	}
}
