package guard

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// startKeeper starts the keeper with one descriptor: its end of a socket.
func (f *front) startKeeper() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return os.NewSyscallError("socketpair", err)
	}
	unix.CloseOnExec(pair[0])
	unix.CloseOnExec(pair[1])
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	self, err := os.Executable()
	if err != nil {
		return err
	}
	environ := without(os.Environ(), heldVariable) // it is none of the processes that end with the lease
	var pid int
	err = withoutDescriptors(func() (err error) {
		pid, err = syscall.ForkExec(self, append([]string{self}, f.Keeper...), &syscall.ProcAttr{
			Env: environ, Dir: "/", Files: []uintptr{null.Fd(), null.Fd(), null.Fd(), uintptr(pair[1])}, Sys: &syscall.SysProcAttr{Setsid: true},
		})
		return err
	})
	_ = unix.Close(pair[1])
	if err != nil {
		_ = unix.Close(pair[0])
		return err
	}
	f.keeperPID = pid
	if f.keeper, err = newLine(os.NewFile(uintptr(pair[0]), "keeper")); err != nil {
		return err
	}
	f.Settings.Front = os.Getpid()
	f.keeper.send(f.Settings)
	return nil
}

// withoutDescriptors calls start, whose child inherits none of the descriptors that this process has inherited.
func withoutDescriptors(start func() error) error {
	var inherited []int
	entries, _ := os.ReadDir("/dev/fd")
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd <= 2 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			inherited = append(inherited, fd)
			unix.CloseOnExec(fd)
		}
	}
	defer func() {
		for _, fd := range inherited {
			_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
		}
	}()
	return start()
}

// start starts the command.
func (f *front) start(path string, signals chan<- os.Signal) error {
	f.command = command{front: os.Getpid(), keeper: f.keeperPID, mark: mark(f.Name, f.granted.ID)}
	f.terminal = ownTerminal()
	shared := f.Shared || f.terminal == nil && hasTerminal()
	if shared {
		f.terminal = nil
	}
	attr := &syscall.SysProcAttr{Setpgid: !shared}
	endsWithParent(attr)
	pid, err := syscall.ForkExec(path, f.Command, &syscall.ProcAttr{Env: f.environ(), Files: []uintptr{0, 1, 2}, Sys: attr})
	if err != nil {
		return err
	}
	if f.command.pid = pid; !shared {
		f.command.group = pid
		if f.terminal != nil {
			signal.Notify(signals, syscall.SIGTSTP)
			f.terminal.give(pid)
			f.command.signal(syscall.SIGCONT) // it may have been stopped for using the terminal
		}
	}
	f.keeper.send(order{Kind: orderStart, PID: pid, Group: f.command.group})
	return nil
}

// environ is the command's environment.
func (f *front) environ() []string {
	held := os.Getenv(heldVariable)
	if held != "" {
		held += ","
	}
	slots := make([]string, len(f.granted.Slots))
	for i, n := range f.granted.Slots {
		slots[i] = strconv.Itoa(n)
	}
	env := without(os.Environ(), "PASSBUDDY_URL", heldVariable, "PASSBUDDY_SLOT", "PASSBUDDY_SLOTS")
	env = append(env,
		"PASSBUDDY_NAME="+f.Name,
		"PASSBUDDY_ID="+f.granted.ID,
		"PASSBUDDY_TOKEN="+strconv.FormatInt(f.granted.Token, 10),
		"PASSBUDDY_LABEL="+f.Label,
		"PASSBUDDY_OWNER="+f.granted.Owner,
		"PASSBUDDY_WEIGHT="+strconv.Itoa(f.granted.Weight),
		"PASSBUDDY_TTL_MS="+strconv.FormatInt(f.granted.TTL.Milliseconds(), 10),
		heldVariable+"="+held+f.command.mark,
	)
	if len(slots) > 0 {
		env = append(env, "PASSBUDDY_SLOT="+slots[0], "PASSBUDDY_SLOTS="+strings.Join(slots, ","))
	}
	return env
}

func without(environ []string, names ...string) []string {
	kept := make([]string, 0, len(environ))
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		drop := false
		for _, n := range names {
			drop = drop || n == name
		}
		if !drop {
			kept = append(kept, v)
		}
	}
	return kept
}

// lookUp finds the command as a shell does.
func lookUp(name string) (path string, code int, err error) {
	path, err = exec.LookPath(name)
	switch {
	case err == nil, errors.Is(err, exec.ErrDot):
		if path, err = filepath.Abs(path); err != nil {
			return "", ExitNotExecutable, err
		}
		return path, 0, nil
	case errors.Is(err, os.ErrPermission):
		return "", ExitNotExecutable, fmt.Errorf("%s: it may not be executed", name)
	default:
		return "", ExitNotFound, fmt.Errorf("%s: there is no such command", name)
	}
}
