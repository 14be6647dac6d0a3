package guard

import (
	"os"

	"golang.org/x/sys/unix"
)

// boottime is the time since the machine started, in nanoseconds. It goes on while the machine is suspended, and is the same
// in all processes.
type boottime int64

func now() boottime {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic(err) // not on any Linux since 2.6.39
	}
	return boottime(t.Nano())
}

// An alarm sends on C once, at the time that it was set to last.
type alarm struct {
	C    chan struct{}
	file *os.File
}

func newAlarm() (*alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	a := &alarm{C: make(chan struct{}, 1), file: os.NewFile(uintptr(fd), "timer")}
	go func() {
		expired := make([]byte, 8)
		for {
			if _, err := a.file.Read(expired); err != nil {
				return
			}
			select {
			case a.C <- struct{}{}:
			default:
			}
		}
	}()
	return a, nil
}

// set has the alarm go off at t, and not at the time before. What has already been sent may still be in C.
func (a *alarm) set(t boottime) {
	value := unix.NsecToTimespec(max(int64(t), 1))
	conn, err := a.file.SyscallConn()
	if err == nil {
		_ = conn.Control(func(fd uintptr) {
			_ = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &unix.ItimerSpec{Value: value}, nil)
		})
	}
}

func (a *alarm) stop() { _ = a.file.Close() }
