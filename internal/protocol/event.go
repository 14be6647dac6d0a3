package protocol

import "time"

// EventKind is what has happened.
type EventKind uint8

const (
	EventWaiting EventKind = iota
	EventAcquired
	EventHandedOver
	EventRenewed
	EventRenewalFailed
	EventLost
	EventReleased
	EventDisagreement
)

// An Event says what happened. Fields that it has nothing to say of are zero.
type Event struct {
	Kind   EventKind
	ID     string // of the permit
	Token  int64
	Weight int
	Waited time.Duration // EventAcquired
	Held   time.Duration // EventLost, eventReleased: since the lease began
	Leases int           // EventRenewed, eventRenewalFailed: how many
	Slack  time.Duration // EventRenewed: what was left of the shortest of their windows
	Err    error         // EventRenewalFailed
	Lost   *Holding      // EventLost

	Capacity int           // EventDisagreement: what the other process declares
	TTL      time.Duration // likewise
}

// happened notes an event, where somebody listens. h is the holding that it is about, or nil.
func (s *State) happened(now Instant, h *Holding, e Event) {
	if !s.Watched {
		return
	}
	if h != nil {
		e.ID, e.Token, e.Weight = h.Grant.ID, h.Token, int(h.Grant.Weight)
		if e.Kind == EventLost || e.Kind == EventReleased {
			e.Held = now.Mono - h.began
		}
		if e.Kind == EventLost {
			e.Lost = h
		}
	}
	effects := s.effectsToCome()
	effects.Events = append(effects.Events, e)
}
