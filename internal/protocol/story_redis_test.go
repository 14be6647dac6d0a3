package protocol

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// reply has Redis answer a batch: the latest that has had no answer, or batch=…. The scripts ran at ran=…, by a server's
// clock that is ahead=… of the one before; stepped-after=… says by how much it has been found to have stepped ahead since. A
// request is refused unless grant=… names its permit.
func (s *story) reply(a *arguments) (string, error) {
	batch, err := s.batchOf(a)
	if err != nil {
		return "", err
	}
	batch.Acknowledged = a.number("acknowledged", batch.Replicas)
	return "", s.answer(batch, s.answersOf(a))
}

// answersOf are the answers that the arguments of a reply tell.
func (s *story) answersOf(a *arguments) *answers {
	server := serverAt(at(a.duration("ran", s.elapsed(s.now)))) + a.duration("ahead", 0).Microseconds()
	said := &answers{
		server: server, expiry: (server+999)/1000 + s.Config.TTL.Milliseconds(),
		granted: a.labels("grant"), gone: a.labels("gone"), revoked: a.labels("revoked"), tooHeavy: a.labels("too-heavy"),
		late: a.flag("late"), missing: a.flag("missing"), unpromoted: a.flag("unpromoted"), more: a.flag("more"), muted: a.flag("muted"),
		steppedAfter: a.duration("stepped-after", 0), slot: a.number("slot", 0), others: a.number("others", 0),
		occupancy: Occupancy{Capacity: a.number("capacity", s.Config.Capacity), Held: a.number("held", s.Config.Capacity)},
	}
	said.occupancy.First = said.expiry
	if first := a.duration("first-expiry", 0); first > 0 {
		said.occupancy.First = serverAt(at(first)) / 1000
	}
	if other := a.number("other-capacity", 0); other > 0 {
		said.occupancy.OtherCapacity, said.occupancy.OtherTTL = other, s.Config.TTL
	}
	return said
}

// answer has a batch arrive with its answers.
func (s *story) answer(batch *Batch, said *answers) error {
	for i := range batch.Calls {
		said.to(&batch.Calls[i], s.permits)
	}
	for _, left := range []struct {
		key    string
		labels map[string]bool
	}{{"grant", said.granted}, {"gone", said.gone}, {"revoked", said.revoked}, {"too-heavy", said.tooHeavy}} {
		for label := range left.labels {
			return fmt.Errorf("%s=%s: the batch does not ask for it", left.key, label)
		}
	}
	s.answered[batch] = true
	s.Arrive(s.now, batch)
	return nil
}

// answers are what Redis says to the calls of a batch. The sets hold labels of permits; a label that was used is
// removed from its set.
type answers struct {
	server, expiry                         int64
	granted, gone, revoked, tooHeavy       map[string]bool
	late, missing, unpromoted, more, muted bool
	steppedAfter                           time.Duration
	others, slot                           int
	occupancy                              Occupancy
}

// to fills in the answer to one call.
func (r *answers) to(c *Call, labels map[string]string) {
	c.Server, c.More, c.Muted, c.ClockAhead = r.server, r.more, r.muted, r.steppedAfter
	switch c.Verb {
	case Release:
		c.Removed, c.Unpromoted = len(c.Grants), r.unpromoted
		if r.missing {
			c.Removed = 0
		}
	case Renew:
		c.Expiry = r.expiry
		for i, g := range c.Grants {
			switch label := labels[g.ID]; {
			case used(r.gone, label):
				c.Lost = append(c.Lost, int64(i+1))
			case used(r.revoked, label):
				c.Lost = append(c.Lost, -int64(i+1))
			}
		}
	case Acquire:
		if c.Late = r.late; r.late {
			return
		}
		refused, waiting := 0, 0
		var slotsOf [][]int
		for i, g := range c.Grants {
			answer := Answer{}
			switch label := labels[g.ID]; {
			case used(r.granted, label):
				answer = Answer{r.expiry, r.server + int64(i)}
			case used(r.revoked, label):
				answer.Expiry = answerRevoked
			case used(r.tooHeavy, label):
				answer.Expiry = answerTooHeavy
			default:
				refused++
				if waits(c.Ages[i]) {
					waiting++
				}
			}
			if c.Ages[i] == Again {
				if refused--; !used(r.gone, labels[g.ID]) {
					answer = Answer{r.expiry, r.server + int64(i)}
				}
			}
			c.Answers = append(c.Answers, answer)
			if c.Slots {
				var slots []int
				for n := 0; answer.Expiry > 0 && n < int(g.Weight); n++ {
					slots = append(slots, r.slot)
					r.slot++
				}
				slotsOf = append(slotsOf, slots)
			}
		}
		if c.Slots {
			c.SlotsOf = &slotsOf
		}
		if refused > 0 || c.Again || r.others > 0 {
			o := r.occupancy
			o.Waiting = waiting + r.others
			if refused == 0 {
				o.First = 0
			}
			c.Occupancy = &o
		}
	}
}

// used reports whether label is in the set, and removes it.
func used(set map[string]bool, label string) bool {
	found := set[label]
	delete(set, label)
	return found
}

// fail has a batch bring no answer but error=…; permanent: it will be the same at the next try.
func (s *story) fail(a *arguments) (string, error) {
	batch, err := s.batchOf(a)
	if err != nil {
		return "", err
	}
	why := Failure{Err: errors.New(a.text("error")), Permanent: a.flag("permanent"), Passing: a.flag("passing")}
	for i := range batch.Calls {
		batch.Calls[i].Failure = why
	}
	s.answered[batch] = true
	s.Arrive(s.now, batch)
	return "", nil
}

func (s *story) batchOf(a *arguments) (*Batch, error) {
	n := a.number("batch", 0)
	switch {
	case n > len(s.batches):
		return nil, fmt.Errorf("batch=%d: only %d were sent", n, len(s.batches))
	case n > 0 && s.answered[s.batches[n-1]]:
		return nil, fmt.Errorf("batch=%d: it was answered before", n)
	case n > 0:
		return s.batches[n-1], nil
	}
	for _, batch := range slices.Backward(s.batches) {
		if !s.answered[batch] {
			return batch, nil
		}
	}
	return nil, errors.New("no batch is under way")
}

// notify brings a notification: of a grant that a script made at ran=… by a server's clock that is ahead=…; of a refusal,
// because the capacity=… in force is too small; or that an operator has withdrawn a permit. A label that begins with
// foreign is of an id that this state does not know.
func (s *story) notify(a *arguments) (string, error) {
	ran := at(a.duration("ran", s.elapsed(s.now)))
	server := serverAt(ran) + a.duration("ahead", 0).Microseconds()
	n := Notification{Server: server, Weight: a.number("weight", 1)}
	switch {
	case a.flag("granted"):
		n.Kind, n.Token = Granted, server
		n.Expiry = (server+999)/1000 + a.duration("ttl", s.Config.TTL).Milliseconds()
	case a.flag("refused"):
		n.Kind, n.Expiry = Refused, int64(a.number("capacity", 0))
	case a.flag("withdrawn"):
		n.Kind = Withdrawn
	default:
		return "", errors.New("a notification says granted, refused or withdrawn")
	}
	if slot := a.number("slot", -1); slot >= 0 {
		n.Slots = []int{slot}
	}
	label := a.text("id")
	for id, l := range s.permits {
		if l == label {
			n.ID = id
		}
	}
	if n.ID == "" && strings.HasPrefix(label, "foreign") {
		n.ID = idOf(1_000_000+len(s.permits), n.Weight)
		s.permits[n.ID] = label
	}
	if n.ID == "" {
		return "", fmt.Errorf("id=%s: no permit has this label", label)
	}
	s.Notified(s.now, n)
	return "", nil
}
