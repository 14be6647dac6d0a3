package protocol

import "time"

// With MinReplicas a grant or a renewal counts only when so many replicas have acknowledged it: the transport sends WAIT
// behind the calls of the batch, over the same connection. What is not acknowledged is not trusted: a grant goes back and
// its waiter fails, a renewal moves no window. A promotion ran in another process's call, and a failover may have undone it: the
// notification of it only starts a poll, which grants the permit again and has that acknowledged.

// An Unacknowledged is the trouble of a batch that too few replicas have acknowledged.
type Unacknowledged struct {
	Wanted, Acknowledged int
	Connected            int // how many replicas the server has; negative: it is not known
	Within               time.Duration
}

func (e *Unacknowledged) Error() string { return "too few replicas acknowledged the write" }

// askReplicas has the batch acknowledged, where it grants or renews something.
func (s *State) askReplicas(batch *Batch) {
	if s.replicas == 0 {
		return
	}
	for i := range batch.Calls {
		if batch.Calls[i].Verb != Release {
			batch.Replicas, batch.ReplicaWait, batch.Connected = s.replicas, max(batch.giveUp.Mono-batch.Sent.Mono, 0)/2, -1
			return
		}
	}
}

// short is why what b brought for g does not count, as who has g or waits for it wants more replicas than have acknowledged
// it; nil: it counts. A late batch may have been sent when nobody wanted any.
func (b *Batch) short(g *Grant) *Unacknowledged {
	wanted := int(g.needs)
	if g.waiter != nil {
		wanted = max(wanted, g.waiter.MinReplicas)
	}
	if b.Acknowledged >= wanted {
		return nil
	}
	return &Unacknowledged{Wanted: wanted, Acknowledged: b.Acknowledged, Connected: b.Connected, Within: b.ReplicaWait.Round(time.Millisecond)}
}

// unacknowledged is why something that batch brought does not count; nil: all counts.
func (s *State) unacknowledged(batch *Batch) *Unacknowledged {
	if s.replicas == 0 {
		return nil
	}
	for i := range batch.Calls {
		if c := &batch.Calls[i]; c.Verb != Release {
			for _, g := range c.Grants {
				if why := batch.short(g); why != nil {
					return why
				}
			}
		}
	}
	return nil
}

// refuse gives back the permit of g, which its waiter has not got yet, and fails the waiter.
func (s *State) refuse(now Instant, g *Grant, why *Unacknowledged) {
	w := s.detach(g)
	w.Trouble = why
	s.giveBack(now, g)
	s.Leave(now, w, &Reason{Kind: Unanswered, Trouble: why})
}

// notRenewed records that a renewal ran and was not acknowledged by enough replicas. It is tried again soon.
func (s *State) notRenewed(now Instant, c *Call, why *Unacknowledged) {
	s.happened(Event{Kind: EventRenewalFailed, Leases: len(c.Grants), Window: s.Window, Err: why})
	if len(s.held) > 0 {
		s.RenewAt = earlier(s.RenewAt, now.Add(s.delay(s.failures)))
	}
}
