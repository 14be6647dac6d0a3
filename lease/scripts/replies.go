package scripts

import (
	"fmt"
	"strconv"
)

// A Status is in every reply that tells more than a number.
type Status int64

const (
	Late    Status = 1 << iota // the call ran past its notAfter and asked for nothing
	Muted                      // a notification was not permitted
	More                       // there is more to promote
	details                    // acquire: how full the semaphore is follows
)

// Has reports whether s has all bits of other.
func (s Status) Has(other Status) bool { return s&other == other }

func unexpected(v Verb, reply any) error { return fmt.Errorf("unexpected reply to %v: %v", v, reply) }

// ReleaseReply reads the reply to a release.
func ReleaseReply(reply []int64) (Status, error) {
	if len(reply) != 1 {
		return 0, unexpected(Release, reply)
	}
	return Status(reply[0]), nil
}

// A Renewed is the reply to a renewal.
type Renewed struct {
	ServerTime int64 // µs
	Expiry     int64 // ms of the server's clock, of each id that is held
	Status     Status
	Lost       []int64 // positions, from 1, of the ids that are not held; negative: it was revoked
}

// RenewReply reads it.
func RenewReply(reply []int64) (Renewed, error) {
	if len(reply) < 3 {
		return Renewed{}, unexpected(Renew, reply)
	}
	return Renewed{reply[0], reply[1], Status(reply[2]), reply[3:]}, nil
}

// A RenewedMany is the reply to a renewal of many semaphores.
type RenewedMany struct {
	ServerTime int64 // µs
	Expiry     int64 // ms of the server's clock, of all ids but those of Left

	// Positions, from 1, of semaphores: renew has to see to those of Left; permits were freed in those of Freed.
	Left, Freed []int64
}

// RenewManyReply reads it: the call was for so many semaphores, with a TTL in ms.
func RenewManyReply(reply []int64, semaphores int, ttl int64) (RenewedMany, error) {
	if len(reply) < 2 || int64(len(reply)-2) != reply[1] {
		return RenewedMany{}, unexpected(RenewMany, reply)
	}
	r := RenewedMany{ServerTime: reply[0], Expiry: (reply[0]+999)/1000 + ttl}
	for _, at := range reply[2:] {
		switch n := max(at, -at); {
		case n < 1 || n > int64(semaphores):
			return RenewedMany{}, unexpected(RenewMany, reply)
		case at > 0:
			r.Left = append(r.Left, n)
		default:
			r.Freed = append(r.Freed, n)
		}
	}
	return r, nil
}

// An Answer is what became of one id of an acquire.
type Answer struct {
	Expiry int64 // ms of the server's clock; or one of those below
	Token  int64 // µs; 0: it was not granted
}

// What an Answer has in place of an expiry.
const (
	Waiting    = 0  // or it was refused
	TooHeavy   = -1 // for the capacity in force
	WasRevoked = -2 // it was granted and revoked since, and has not been given back
	Disagrees  = -3 // the call is strict, and somebody holds or waits who declares other limits
)

// Details are how full a semaphore is.
type Details struct {
	Capacity int64 // in force
	Held     int64
	Waiting  int64
	First    int64 // the earliest expiry, ms; 0: nobody was refused

	OtherCapacity, OtherTTL int64 // that the caller of the grant before declared, TTL in ms; 0: the same
}

const detailed = 6 // integers

// An Acquired is the reply to an acquire.
type Acquired struct {
	ServerTime int64 // µs
	Status     Status

	answers, slots, details []int64
}

// AcquireReply reads it: the call had so many ids. weight is what the i-th weighs; nil: there are no slots.
func AcquireReply(reply []int64, ids int, weight func(i int) int) (Acquired, error) {
	if len(reply) < 2 {
		return Acquired{}, unexpected(Acquire, reply)
	}
	a := Acquired{ServerTime: reply[0], Status: Status(reply[1])}
	rest := reply[2:]
	if a.Status.Has(Late) {
		ids = 0
	}
	if len(rest) < 2*ids {
		return Acquired{}, unexpected(Acquire, reply)
	}
	a.answers, rest = rest[:2*ids], rest[2*ids:]
	slots := 0
	for i := 0; i < ids && weight != nil; i++ {
		if a.Answer(i).Expiry > 0 {
			slots += weight(i)
		}
	}
	want := slots
	if a.Status.Has(details) {
		want += detailed
	}
	if len(rest) != want {
		return Acquired{}, unexpected(Acquire, reply)
	}
	a.slots, a.details = rest[:slots], rest[slots:]
	return a, nil
}

// Answer is that to the i-th id. A call that was late has none.
func (a *Acquired) Answer(i int) Answer { return Answer{a.answers[2*i], a.answers[2*i+1]} }

// NextSlots are those of the next id that was granted, which weighs n. With slots only.
func (a *Acquired) NextSlots(n int) []int {
	slots := make([]int, n)
	for i, slot := range a.slots[:n] {
		slots[i] = int(slot)
	}
	a.slots = a.slots[n:]
	return slots
}

// Details reports how full the semaphore is, unless there was room for all.
func (a *Acquired) Details() (Details, bool) {
	if len(a.details) == 0 {
		return Details{}, false
	}
	d := a.details
	return Details{d[0], d[1], d[2], d[3], d[4], d[5]}, true
}

// A Member is a name in the sorted set, which may be one of several of an id.
type Member struct {
	Name   string
	Expiry int64 // ms of the server's clock
}

// A Queued is a waiter.
type Queued struct {
	ID         string
	Arrival    int64 // µs of the server's clock
	AliveUntil int64 // ms
	Callers    int64 // that wait in the process, as it said last; 0: no more than have a place
}

// An Inspected is the reply to an inspect.
type Inspected struct {
	ServerTime    int64 // µs
	Override      int64 // the operator's; negative: none
	OtherCapacity int64 // that the caller of the latest grant declared; 0: none
	OtherTTL      int64 // ms
	Members       []Member
	Waiters       []Queued
	Slots         map[string]int // by the name of the member that got it last
	Change        Change
}

// A Change is what is known of an override.
type Change struct {
	By, Reason string
	At         int64 // µs; 0: not known
	Before     int64 // the override that a pause interrupts; negative: none
}

// A Summary is the reply to a summarize.
type Summary struct {
	ServerTime    int64 // µs
	Override      int64 // the operator's; negative: none
	OtherCapacity int64 // that the caller of the latest grant declared; 0: none
	OtherTTL      int64 // ms
	Held          int64
	NextExpiry    int64 // ms; 0: none
	Places        int64 // in the queue
	Callers       int64 // that wait
	FirstArrival  int64 // µs, of the first who is alive; 0: nobody
	FirstWeight   int64
	Change        Change
}

// A Failing is a command that a user or a server cannot run.
type Failing struct{ Command, Error string }

// CheckReply reads check's reply.
func CheckReply(reply []any) ([]Failing, error) {
	pairs, isList := texts(reply, 2)
	if !isList {
		return nil, unexpected(Check, reply)
	}
	var all []Failing
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, Failing{pairs[i], pairs[i+1]})
	}
	return all, nil
}

// InspectReply reads it.
func InspectReply(reply []any) (Inspected, error) {
	err := unexpected(Inspect, reply)
	n, isWhole := integers(reply, 6)
	if !isWhole || len(reply) != 10 {
		return Inspected{}, err
	}
	r := Inspected{ServerTime: n[0], Override: n[1], OtherCapacity: n[2], OtherTTL: n[3]}
	members, isList := texts(reply[6], 2)
	waiters, isToo := texts(reply[7], 4)
	slots, isOne := texts(reply[8], 2)
	change, isChange := changeOf(reply[9])
	if !isList || !isToo || !isOne || !isChange {
		return Inspected{}, err
	}
	r.Change = change
	for i := 0; i < len(members); i += 2 {
		expiry, isNumber := score(members[i+1])
		if !isNumber {
			return Inspected{}, err
		}
		r.Members = append(r.Members, Member{members[i], expiry})
	}
	for i := 0; i < len(waiters); i += 4 {
		arrival, isNumber := score(waiters[i+1])
		until, isOne := score(waiters[i+2])
		callers, isToo := score(waiters[i+3])
		if !isNumber || !isOne || !isToo {
			return Inspected{}, err
		}
		r.Waiters = append(r.Waiters, Queued{waiters[i], arrival, until, callers})
	}
	for i := 0; i < len(slots); i += 2 {
		slot, bad := strconv.Atoi(slots[i])
		if bad != nil {
			return Inspected{}, err
		}
		if r.Slots == nil {
			r.Slots = map[string]int{}
		}
		r.Slots[slots[i+1]] = slot
	}
	return r, nil
}

// changeOf reads what is known of an override.
func changeOf(reply any) (Change, bool) {
	list, isList := texts(reply, 4)
	if !isList || len(list) != 4 {
		return Change{}, false
	}
	c := Change{By: list[0], Reason: list[2], Before: -1}
	var err1, err2 error
	if list[1] != "" {
		c.At, err1 = strconv.ParseInt(list[1], 10, 64)
	}
	if list[3] != "" {
		c.Before, err2 = strconv.ParseInt(list[3], 10, 64)
	}
	return c, err1 == nil && err2 == nil
}

// SummarizeReply reads it.
func SummarizeReply(reply []any) (Summary, error) {
	n, isWhole := integers(reply, 10)
	if !isWhole || len(reply) != 11 {
		return Summary{}, unexpected(Summarize, reply)
	}
	change, isChange := changeOf(reply[10])
	if !isChange {
		return Summary{}, unexpected(Summarize, reply)
	}
	return Summary{n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8], n[9], change}, nil
}

// ResizeReply reads the reply to a resize.
func ResizeReply(reply []any) (Status, error) {
	n, isWhole := integers(reply, 2)
	if !isWhole || len(reply) != 2 {
		return 0, unexpected(Resize, reply)
	}
	return Status(n[1]), nil
}

// A Revocation is what became of the id that was to be revoked.
type Revocation int64

const (
	NotHeld Revocation = iota
	Revoked
	OnlyWaits // and holds nothing
	RevokedBefore
)

// RevokeReply reads the reply to a revoke.
func RevokeReply(reply []any) (Revocation, error) {
	n, isWhole := integers(reply, 2)
	if !isWhole || len(reply) != 2 || n[0] < int64(NotHeld) || n[0] > int64(RevokedBefore) {
		return 0, unexpected(Revoke, reply)
	}
	return Revocation(n[0]), nil
}

// integers are the first n of a reply.
func integers(reply []any, n int) ([]int64, bool) {
	if len(reply) < n {
		return nil, false
	}
	all := make([]int64, n)
	for i := range all {
		var isOne bool
		if all[i], isOne = reply[i].(int64); !isOne {
			return nil, false
		}
	}
	return all, true
}

// texts is a list whose entries are of so many texts each.
func texts(reply any, each int) ([]string, bool) {
	list, isList := reply.([]any)
	if !isList || len(list)%each != 0 {
		return nil, false
	}
	all := make([]string, len(list))
	for i := range all {
		var isOne bool
		if all[i], isOne = list[i].(string); !isOne {
			return nil, false
		}
	}
	return all, true
}

// score reads one of a sorted set: it comes as text.
func score(text string) (int64, bool) {
	f, err := strconv.ParseFloat(text, 64)
	return int64(f), err == nil
}
