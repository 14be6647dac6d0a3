package protocol

import "time"

// A ClockWatch is what one semaphore knows of the clock of the server that keeps it. It compares with its own
// readings only: a key is kept by one server, while an address may hide several. A step that another semaphore has
// found is heard of, and what it takes from the windows is taken once: a reading of its own that shows the same
// step later is no news. Source of the comparison: the ranges of clock offsets of Cristian, "Probabilistic clock
// synchronization" (1989).
type ClockWatch struct {
	last  Reading       // by which, or by one that agrees with it, the windows were measured
	heard Reading       // another semaphore's that contradicts last; zero: none
	taken time.Duration // what was taken from the windows for it
}

// Newest is the reading that tells best what the server's clock shows now.
func (w *ClockWatch) Newest() Reading {
	if w.heard.Micros != 0 {
		return w.heard
	}
	return w.last
}

// Observe takes a reading of this semaphore's. forward is what the windows measured before it lose, and changed says
// that the clock is not the one that was known; both are zero where the step was heard of before.
func (w *ClockWatch) Observe(r Reading) (forward time.Duration, changed bool) {
	if r.Sent.Mono < w.last.Sent.Mono {
		return 0, false // an answer to an attempt that was given up
	}
	forward, changed = w.last.Jump(r)
	if w.heard.Micros == 0 {
		if changed || w.sharper(r) {
			w.last = r
		}
		return forward, changed
	}
	_, contradictsHeard := w.heard.Jump(r)
	switch {
	case !changed && contradictsHeard && r.Sent.Mono < w.heard.Received.Mono:
		return 0, false // it ran before the step: see AheadSince
	case changed && contradictsHeard:
		forward = max(forward-w.taken, 0)
	default: // the step that was heard of, or none here
		forward, changed = 0, false
	}
	w.last, w.heard, w.taken = r, Reading{}, 0
	return forward, changed
}

// sharper reports whether r is to be compared with from now on: a slow answer after a quick one would hide the steps
// that are smaller than its width. The older reading loses by the drift since; and it says nothing of the time when
// the process was suspended.
func (w *ClockWatch) sharper(r Reading) bool {
	elapsed := r.Sent.Mono - w.last.Sent.Mono
	suspended := (r.Received.Wall - w.last.Sent.Wall) - (r.Received.Mono - w.last.Sent.Mono)
	return w.last.Micros == 0 || r.width() <= w.last.width()+drift(elapsed) || suspended > drift(elapsed)
}

// Hear takes a reading of another semaphore's that showed a step, and returns as Observe does. Where it tells nothing
// new of the clock that this one knows, nothing changes.
func (w *ClockWatch) Hear(r Reading) (forward time.Duration, changed bool) {
	if w.last.Micros == 0 { // no window was measured; but its first answer may be on its way from before the step
		w.heard = r
		return 0, false
	}
	if r.Received.Mono < w.last.Sent.Mono {
		return 0, false
	}
	if forward, changed = w.last.Jump(r); !changed {
		return 0, false
	}
	if w.heard.Micros != 0 {
		if _, news := w.heard.Jump(r); !news {
			return 0, false
		}
	}
	w.heard = r
	forward = max(forward-w.taken, 0)
	w.taken += forward
	return forward, true
}

// AheadSince is by how much the clock has been found ahead since the call of r ran: a window that its answer measures is
// shorter by it.
func (w *ClockWatch) AheadSince(r Reading) time.Duration {
	newest := w.Newest()
	if r.Micros == 0 || r.Sent.Mono > newest.Received.Mono {
		return 0
	}
	if _, changed := r.Jump(newest); !changed {
		return 0
	}
	// The window would count from r.Sent by the clock before. By the newest, the expiry comes earlier by this at most.
	return max(time.Duration(newest.Micros-r.Micros)*time.Microsecond-(newest.Sent.Mono-r.Sent.Mono), 0)
}

// Doubts reports whether r, the answer to an attempt that was given up, shows a later time than the newest reading allows.
// Which of the two ran first is not known: either the clock stepped ahead after the newest reading was taken, or it had
// stepped back before. Observe leaves r aside; who asks the server again learns which.
func (w *ClockWatch) Doubts(r Reading) bool {
	if r.Sent.Mono >= w.last.Sent.Mono {
		return false
	}
	forward, _ := w.Newest().Jump(r)
	return forward > 0
}

// width is how exact a reading is: its answer took as long.
func (r Reading) width() time.Duration { return r.Received.Mono - r.Sent.Mono }
