package lease

import "time"

// A clockWatch is what one semaphore knows of the clock of the server that keeps it. It compares with its own
// readings only: a key is kept by one server, while an address may hide several. A step that another semaphore has
// found is heard of, and what it takes from the windows is taken once: a reading of its own that shows the same
// step later is no news. Source of the comparison: the ranges of clock offsets of Cristian, "Probabilistic clock
// synchronization" (1989).
type clockWatch struct {
	last  reading       // by which, or by one that agrees with it, the windows were measured
	heard reading       // another semaphore's that contradicts last; zero: none
	taken time.Duration // what was taken from the windows for it
}

// newest is the reading that tells best what the server's clock shows now.
func (w *clockWatch) newest() reading {
	if w.heard.micros != 0 {
		return w.heard
	}
	return w.last
}

// observe takes a reading of this semaphore's. forward is what the windows measured before it lose, and changed says
// that the clock is not the one that was known; both are zero where the step was heard of before.
func (w *clockWatch) observe(r reading) (forward time.Duration, changed bool) {
	if r.sent.mono < w.last.sent.mono {
		return 0, false // an answer to an attempt that was given up
	}
	forward, changed = w.last.jump(r)
	if w.heard.micros == 0 {
		if changed || w.sharper(r) {
			w.last = r
		}
		return forward, changed
	}
	_, contradictsHeard := w.heard.jump(r)
	switch {
	case !changed && contradictsHeard && r.sent.mono < w.heard.received.mono:
		return 0, false // it ran before the step: see behind
	case changed && contradictsHeard:
		forward = max(forward-w.taken, 0)
	default: // the step that was heard of, or none here
		forward, changed = 0, false
	}
	w.last, w.heard, w.taken = r, reading{}, 0
	return forward, changed
}

// sharper reports whether r is to be compared with from now on: a slow answer after a quick one would hide the steps
// that are smaller than its width. The older reading loses by the drift since; and it says nothing of the time when
// the process was suspended.
func (w *clockWatch) sharper(r reading) bool {
	elapsed := r.sent.mono - w.last.sent.mono
	suspended := (r.received.wall - w.last.sent.wall) - (r.received.mono - w.last.sent.mono)
	return w.last.micros == 0 || r.width() <= w.last.width()+drift(elapsed) || suspended > drift(elapsed)
}

// hear takes a reading of another semaphore's that showed a step, and returns as observe does. Where it tells nothing
// new of the clock that this one knows, nothing changes.
func (w *clockWatch) hear(r reading) (forward time.Duration, changed bool) {
	if w.last.micros == 0 || r.received.mono < w.last.sent.mono {
		return 0, false
	}
	if forward, changed = w.last.jump(r); !changed {
		return 0, false
	}
	if w.heard.micros != 0 {
		if _, news := w.heard.jump(r); !news {
			return 0, false
		}
	}
	w.heard = r
	forward = max(forward-w.taken, 0)
	w.taken += forward
	return forward, true
}

// behind is by how much the clock has been found ahead since the call of r ran: a window that its answer measures is
// shorter by it.
func (w *clockWatch) behind(r reading) time.Duration {
	newest := w.newest()
	if r.micros == 0 || r.sent.mono >= newest.received.mono {
		return 0
	}
	if _, changed := r.jump(newest); !changed {
		return 0
	}
	// The window would count from r.sent by the clock before. By the newest, the expiry comes earlier by this at most.
	return max(time.Duration(newest.micros-r.micros)*time.Microsecond-(newest.sent.mono-r.sent.mono), 0)
}

// width is how exact a reading is: its answer took as long.
func (r reading) width() time.Duration { return r.received.mono - r.sent.mono }
