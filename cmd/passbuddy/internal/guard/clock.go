package guard

import "time"

func (b boottime) add(d time.Duration) boottime       { return b + boottime(d) }
func (b boottime) until(other boottime) time.Duration { return time.Duration(other - b) }

// boottimeOf is a time by the wall clock that lies ahead, or just behind.
func boottimeOf(t time.Time) boottime { return now().add(time.Until(t)) }
