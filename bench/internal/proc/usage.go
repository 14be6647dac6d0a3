package proc

import (
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns what this process has used so far, in user and system mode together.
func CPU() time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
