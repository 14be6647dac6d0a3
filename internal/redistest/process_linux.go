package redistest

import (
	"os"
	"syscall"
)

// dieWithParent has the kernel kill the process when the thread that started
// it ends, so that not even a killed test binary leaves servers behind.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// Arguments of waitid(2) that package syscall has no names for.
const (
	waitPID   = 1          // P_PID
	waitStop  = 0x00000002 // WSTOPPED
	waitLeave = 0x01000000 // WNOWAIT
)

// stopProcess stops p, a child of this process, and returns when all of its
// threads stand still. Sending SIGSTOP alone returns earlier, and a server on
// another core may answer one more request.
func stopProcess(p *os.Process) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		// WNOWAIT leaves the state in place, so stopping twice does not hang;
		// without WEXITED the end of the process is left to its own Wait.
		_, _, errno := syscall.Syscall6(syscall.SYS_WAITID, waitPID, uintptr(p.Pid), 0, waitStop|waitLeave, 0, 0)
		switch errno {
		case 0:
			return nil
		case syscall.EINTR:
		default:
			return os.NewSyscallError("waitid", errno)
		}
	}
}

func continueProcess(p *os.Process) error {
	return p.Signal(syscall.SIGCONT)
}
