package protocol

import (
	"fmt"
	"strings"
	"time"
)

// What a story says of times, reasons, warnings and events.

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// time is the time from the begin of the story until i. Where the two clocks do not agree it says both.
func (s *story) time(i Instant) string {
	text := s.elapsed(i).String()
	if wall := i.Wall - at(0).Wall; wall != s.elapsed(i) {
		text += fmt.Sprintf(" (by the wall clock %v)", wall)
	}
	return text
}

// place is a place in the queue: a time of the server's clock, here since the story began.
func (s *story) place(n int64) time.Duration { return micros(n - serverAt(at(0))) }

func isClosed(done chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

var reasonTexts = map[reasonKind]string{
	Expired: "expired", Removed: "removed", Revoked: "revoked", HeldTooLong: "held too long", Abandoned: "abandoned",
	Closed: "closed", Unanswered: "unanswered", NoRoom: "no room", TooHeavy: "too heavy", Deadlock: "deadlock", cancelled: "cancelled",
}

func reasonText(r *Reason) string {
	text := reasonTexts[r.Kind]
	switch r.Kind {
	case NoRoom:
		text += fmt.Sprintf(" (capacity %d, held %d, waiting %d, retry after %v)", r.Capacity, r.Held, r.Waiting, r.RetryAfter)
	case TooHeavy, Deadlock:
		text += fmt.Sprintf(" (capacity %d)", r.Capacity)
	}
	if r.Trouble != nil {
		text += fmt.Sprintf(" (%v)", r.Trouble)
	}
	return text
}

func warningText(w Warning) string {
	switch w.Kind {
	case Muted:
		return "warning: notifications are not permitted\n"
	case NoSlots:
		return "warning: another process does not set Slots\n"
	}
	return fmt.Sprintf("warning: another process declares capacity %d and TTL %v\n", w.Capacity, w.TTL)
}

var eventTexts = map[EventKind]string{
	EventRenewed: "renewed", EventRenewalFailed: "renewal failed", EventReleased: "released", EventDisagreement: "disagreement",
	EventRecovered: "recovered",
}

func eventText(s *story, e Event) string {
	parts := []string{eventTexts[e.Kind]}
	add := func(set bool, format string, args ...any) {
		if set {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(e.Leases > 0, "leases %d", e.Leases)
	add(e.Slack > 0, "slack %v", e.Slack)
	add(e.Window > 0, "window %v", e.Window)
	add(e.Err != nil, "error %v", e.Err)
	add(e.Capacity > 0, "capacity %d", e.Capacity)
	add(e.Outage > 0, "outage %v", e.Outage)
	if e.Holding != nil {
		parts = append(parts, "permit "+s.permits[e.Holding.Grant.ID])
		if why := e.Holding.Result; why != nil {
			parts = append(parts, reasonText(why))
		}
	}
	return strings.Join(parts, ", ")
}
