package proc

import (
	"errors"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// ErrNoPinning says that a process cannot be kept on one core here.
var ErrNoPinning = errors.New("processes cannot be pinned to a core here")

// Anywhere is the core of a process that is not pinned.
const Anywhere = -1

// A Process is one run of an operating system process. Safe for concurrent use.
type Process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process has been waited for
	err    error         // what Wait returned; read it after exited
}

// Launch starts cmd, on one core if core is not Anywhere. The process dies with this one where the system
// can do that.
func Launch(cmd *exec.Cmd, core int) (*Process, error) {
	p := &Process{cmd: cmd, exited: make(chan struct{})}
	cmd.SysProcAttr = dieWithParent()
	cmd.WaitDelay = time.Second
	started := make(chan error, 1)
	go p.run(core, started)
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// run starts the process and stays with it until its end. It keeps its thread to itself: to Linux, the
// parent whose death kills the child is the thread that forked it. The thread is not given back, because
// its affinity may have changed.
func (p *Process) run(core int, started chan<- error) {
	runtime.LockOSThread()
	if core != Anywhere {
		if err := pinThread(core); err != nil {
			started <- err
			return
		}
	}
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	p.err = p.cmd.Wait()
	close(p.exited)
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Exited returns a channel that is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Wait waits for the end of the process and returns how it ended.
func (p *Process) Wait() error {
	<-p.exited
	return p.err
}

// Kill ends the process, paused or not, and waits for its end.
func (p *Process) Kill() {
	select {
	case <-p.exited:
		return
	default:
	}
	_ = p.cmd.Process.Kill() // fails only when it has just ended by itself
	<-p.exited
}

// Pause stops the process where it stands. On Linux it returns when all of its threads stand still.
func (p *Process) Pause() error { return pause(p.cmd.Process) }

// Resume lets a paused process go on.
func (p *Process) Resume() error { return resume(p.cmd.Process) }

// A Tail keeps the last part of what is written to it. Safe for concurrent use.
type Tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 8 << 10

func (t *Tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, b...)
	if n := len(t.text); n > tailSize {
		t.text = append(t.text[:0], t.text[n-tailSize:]...)
	}
	return len(b), nil
}

func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
