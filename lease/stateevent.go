package lease

import "time"

type eventKind uint8

const (
	eventWaiting eventKind = iota
	eventAcquired
	eventHandedOver
	eventRenewed
	eventRenewalFailed
	eventLost
	eventReleased
	eventDisagreement
)

// A stateEvent says what happened. Fields that it has nothing to say of are zero.
type stateEvent struct {
	kind   eventKind
	id     string // of the permit
	token  int64
	weight int
	waited time.Duration // eventAcquired
	held   time.Duration // eventLost, eventReleased: since the lease began
	leases int           // eventRenewed, eventRenewalFailed: how many
	slack  time.Duration // eventRenewed: what was left of the shortest of their windows
	err    error         // eventRenewalFailed
	lost   *holding      // eventLost

	capacity int           // eventDisagreement: what the other process declares
	ttl      time.Duration // likewise
}

// happened notes an event, where somebody listens. h is the holding that it is about, or nil.
func (d *desk) happened(now instant, h *holding, e stateEvent) {
	if !d.watched {
		return
	}
	if h != nil {
		e.id, e.token, e.weight = h.grant.id, h.token, int(h.grant.weight)
		if e.kind == eventLost || e.kind == eventReleased {
			e.held = now.mono - h.began
		}
		if e.kind == eventLost {
			e.lost = h
		}
	}
	left := d.after()
	left.events = append(left.events, e)
}
