//go:build !linux

package guard

import "syscall"

// What Linux offers, other systems do not: there, the command's group stands for all its processes.

func adoptOrphans() error                 { return nil }
func endsWithParent(*syscall.SysProcAttr) {}

type process struct {
	pid  int
	name string
}

// processes returns the leader of the command's group while the group has processes.
func (c *command) processes(bool) []process {
	if c.group > 0 && syscall.Kill(-c.group, 0) != syscall.ESRCH {
		return []process{{pid: c.group, name: "group"}}
	}
	return nil
}
