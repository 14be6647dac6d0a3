package proc

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// pinThread keeps the calling thread, and what it starts, on one core. Core n is the n-th of those that
// this process may use.
func pinThread(core int) error {
	var allowed, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		return ErrNoPinning
	}
	for i := range len(allowed) * 64 {
		if !allowed.IsSet(i) {
			continue
		}
		if core == 0 {
			one.Set(i)
			if unix.SchedSetaffinity(0, &one) != nil {
				return ErrNoPinning
			}
			return nil
		}
		core--
	}
	return ErrNoPinning
}

func pause(p *os.Process) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	for {
		// Without WEXITED the end of the process is left to its own Wait; WNOWAIT leaves the state in place.
		err := unix.Waitid(unix.P_PID, p.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

func resume(p *os.Process) error { return p.Signal(syscall.SIGCONT) }
