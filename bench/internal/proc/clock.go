package proc

import (
	"time"

	"golang.org/x/sys/unix"
)

// An Instant is a reading of the system's monotonic clock, in nanoseconds. All processes of one machine
// read the same clock, so their instants can be compared.
type Instant int64

// Add returns the instant d later.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d) }

// Sub returns the time from j to i.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i - j) }

// epoch ties Go's reading of the monotonic clock, which is fast but has no zero that processes share, to
// the system's.
var epoch = func() (e struct {
	go_    time.Time
	system Instant
}) {
	best := time.Duration(1<<63 - 1)
	for range 100 {
		var ts unix.Timespec
		before := time.Now()
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			panic(err) // every Unix has it
		}
		if took := time.Since(before); took < best {
			best = took
			e.go_, e.system = before.Add(took/2), Instant(ts.Nano())
		}
	}
	return e
}()

// Now reads the clock.
func Now() Instant { return epoch.system.Add(time.Since(epoch.go_)) }

// Until returns how long it is until i.
func Until(i Instant) time.Duration { return i.Sub(Now()) }

// SleepUntil returns at i, or at once if i has passed.
func SleepUntil(i Instant) { time.Sleep(Until(i)) }
