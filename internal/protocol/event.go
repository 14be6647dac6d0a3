package protocol

import "time"

// EventKind is what has happened.
type EventKind uint8

const (
	EventRenewed EventKind = iota
	EventRenewalFailed
	EventReleased // a release that nobody waits for was answered, or given up
	EventDisagreement
	EventRecovered
)

// An Event says what happened that no caller is told. Fields that it has nothing to say of are zero.
type Event struct {
	Kind    EventKind
	Leases  int           // EventRenewed, EventRenewalFailed: how many
	Slack   time.Duration // EventRenewed: what was left of the shortest of their windows
	Window  time.Duration // EventRenewed, EventRenewalFailed: of a fresh grant
	Err     error         // EventRenewalFailed
	Holding *Holding      // EventReleased; Holding.Result says how it went
	Outage  time.Duration // EventRecovered: since the first attempt failed

	Capacity int           // EventDisagreement: what the other process declares
	TTL      time.Duration // likewise
}

// happened notes an event, where somebody listens.
func (s *State) happened(e Event) {
	if s.Watched {
		effects := s.effectsToCome()
		effects.Events = append(effects.Events, e)
	}
}
