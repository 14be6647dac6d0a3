//go:build !linux

package guard

import "time"

// boottime is the wall clock's time, in nanoseconds: it goes on while the machine is suspended.
type boottime int64

func now() boottime { return boottime(time.Now().UnixNano()) }

// An alarm sends on C once, at the time that it was set to last.
type alarm struct {
	C     chan struct{}
	times chan boottime
}

func newAlarm() (*alarm, error) {
	a := &alarm{C: make(chan struct{}, 1), times: make(chan boottime)}
	go a.run()
	return a, nil
}

// run looks at the clock again and again: a timer stands still while the machine is suspended.
func (a *alarm) run() {
	const often = 20 * time.Millisecond
	var at boottime
	var ticks <-chan time.Time
	ticker := time.NewTicker(often)
	defer ticker.Stop()
	for {
		select {
		case t, open := <-a.times:
			if !open {
				return
			}
			at, ticks = t, ticker.C
		case <-ticks:
			if now() >= at {
				ticks = nil
				select {
				case a.C <- struct{}{}:
				default:
				}
			}
		}
	}
}

// set has the alarm go off at t, and not at the time before. What has already been sent may still be in C.
func (a *alarm) set(t boottime) { a.times <- t }

func (a *alarm) stop() { close(a.times) }
