package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"sync"
	"time"
)

// startLimit bounds how long a process may take to say that it is ready; it
// takes some ten milliseconds on an idle machine.
const startLimit = 30 * time.Second

var errPortTaken = errors.New("port is taken")

// process is one run of an operating system process, from launch to its end.
type process struct {
	cmd    *exec.Cmd
	log    *processLog
	exited chan struct{} // closed when the process has been waited for
	err    error         // what Wait returned; read it after exited
}

// launch starts the program and returns when its output contains ready. If
// that does not happen the process is ended and the error tells its output;
// the error is errPortTaken if another listener was the reason.
func launch(path string, args []string, ready string) (*process, error) {
	log := &processLog{mark: []byte(ready), marked: make(chan struct{})}
	p := &process{cmd: exec.Command(path, args...), log: log, exited: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.SysProcAttr = dieWithParent()
	// A forked child that saves to disk holds the output open for longer than
	// its parent lives; Wait must not hang on it.
	p.cmd.WaitDelay = time.Second

	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, err
	}

	limit := time.NewTimer(startLimit)
	defer limit.Stop()
	select {
	case <-log.marked:
		return p, nil
	case <-p.exited:
		if log.contains("Address already in use") {
			return nil, errPortTaken
		}
		return nil, fmt.Errorf("%s ended before it was ready (%v):\n%s", path, p.err, log)
	case <-limit.C:
		err := fmt.Errorf("%s not ready after %v:\n%s", path, startLimit, log)
		return nil, errors.Join(err, p.kill())
	}
}

// run starts the process and stays with it until its end. It keeps its thread
// to itself: the kernel takes "parent" in the parent-death signal to mean the
// thread that forked, which the Go runtime may otherwise end at any time.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err != nil {
		return
	}
	p.err = p.cmd.Wait()
	close(p.exited)
}

// kill ends the process with SIGKILL and returns when it has been waited for.
// A stopped process is not continued first: SIGKILL ends it as it is, while
// SIGCONT would let it run what has piled up in its sockets. Killing a process
// that is gone already is no error, but one that crashed is.
func (p *process) kill() error {
	select {
	case <-p.exited:
		if p.err != nil {
			return fmt.Errorf("%s ended by itself (%w):\n%s", p.cmd.Path, p.err, p.log)
		}
		return nil
	default:
	}
	// An error means that the process ended between the check and here.
	_ = p.cmd.Process.Kill()
	<-p.exited
	return nil
}

// processLog takes a process's output and tells when it has shown a mark. It
// is safe for concurrent use.
type processLog struct {
	mark   []byte
	marked chan struct{} // closed when mark has been written

	mu    sync.Mutex
	found bool
	tail  []byte // everything until mark is found, then the most recent part
}

const logTail = 32 << 10

func (l *processLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tail = append(l.tail, b...)
	if !l.found && bytes.Contains(l.tail, l.mark) {
		l.found = true
		close(l.marked)
	}
	if l.found && len(l.tail) > 2*logTail {
		l.tail = append([]byte(nil), l.tail[len(l.tail)-logTail:]...)
	}
	return len(b), nil
}

func (l *processLog) contains(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.tail, []byte(s))
}

func (l *processLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.tail)
}
