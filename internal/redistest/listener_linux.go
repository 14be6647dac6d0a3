package redistest

import (
	"errors"
	"net"
	"syscall"
)

// stopListening closes a listener so that connections to it are refused and
// its address can be listened on again by the time it returns.
//
// Close alone does not do that in a process that starts others: between fork
// and exec a child has a copy of every descriptor, and while it has the
// listener's the kernel goes on accepting. (syscall.ForkLock does not cover it:
// it is released before exec has closed the copies.) Shutdown acts on the
// socket itself, however many descriptors it has.
func stopListening(l *net.TCPListener) error {
	raw, err := l.SyscallConn()
	if err != nil {
		return err
	}
	var shutdown error
	err = raw.Control(func(fd uintptr) { shutdown = syscall.Shutdown(int(fd), syscall.SHUT_RD) })
	return errors.Join(err, shutdown, l.Close())
}
