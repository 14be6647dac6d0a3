//go:build unix && !linux

package redistest

import (
	"os"
	"syscall"
)

// dieWithParent does nothing here: only Linux kills a child with its parent in
// a way that package syscall offers on all architectures.
func dieWithParent() *syscall.SysProcAttr { return nil }

// stopProcess sends SIGSTOP and does not wait for it to take effect.
func stopProcess(p *os.Process) error { return p.Signal(syscall.SIGSTOP) }

func continueProcess(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
