package guard

import (
	"os"
	"syscall"
	"time"
)

// signaled passes a signal on.
func (f *front) signaled(s syscall.Signal) {
	switch s {
	case syscall.SIGCHLD: // reap comes next
	case syscall.SIGCONT:
		f.goOn()
	case syscall.SIGINT, syscall.SIGQUIT:
		if f.ints++; s == syscall.SIGINT && f.ints > 1 {
			_ = f.command.kill(2*time.Second, f.reap) // the permit waits for what is left
			return
		}
		if f.command.group == 0 && hasTerminal() {
			return // the terminal has sent it to the whole group
		}
		f.command.signal(s)
	default:
		f.command.signal(s)
	}
}

// reap takes the children that have ended, and follows the command when it is stopped.
func (f *front) reap() {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG|syscall.WUNTRACED, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil || pid <= 0:
			return
		case pid != f.command.pid:
		case status.Stopped():
			switch s := status.StopSignal(); {
			case f.terminal == nil || f.stopping != 0:
			case (s == syscall.SIGTTIN || s == syscall.SIGTTOU) && f.terminal.isOurs():
				f.goOn() // a shell brings a job that runs into the foreground without a signal
			default:
				f.suspend()
			}
		default:
			f.exited, f.status = true, status
		}
	}
}

// suspend stops this process too: so the shell sees that the job has stopped. The keeper goes on. CONT comes as every signal
// does, and not here: another thread may take the STOP, and this one run on for a moment.
func (f *front) suspend() {
	f.terminal.takeBack()
	_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
}

// goOn continues the command, in the foreground if this process is there.
func (f *front) goOn() {
	if f.exited {
		return
	}
	if f.terminal.isOurs() {
		f.terminal.give(f.command.group)
	}
	f.command.signal(syscall.SIGCONT)
}

// forwarded are the signals that the command gets from the front.
var forwarded = []os.Signal{
	syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGCONT,
}
