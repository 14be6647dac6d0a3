package scripts

import (
	"strconv"
	"strings"
)

// Channel is what the name of a process's channel begins with; its owner follows.
const Channel = "passbuddy:inbox:"

// A Notice is what a Notification tells.
type Notice uint8

const (
	Granted Notice = iota
	Refused        // the request is heavier than the capacity in force
	Withdrawn
)

// A Notification is a message that a script publishes to the owner of an id.
type Notification struct {
	Notice     Notice
	Expiry     int64 // granted: ms of the server's clock; refused: the capacity in force
	Token      int64 // granted: µs
	ServerTime int64 // when the script ran, in µs
	ID         string
	Holders    string // the key of the semaphore's sorted set
	Slots      []int  // granted, with Config.Slots
}

// ParseNotification reads one. Anybody can publish: what makes no sense is not ok.
func ParseNotification(payload string) (n Notification, ok bool) {
	fields := strings.SplitN(payload, " ", 5)
	if len(fields) != 5 {
		return Notification{}, false
	}
	verb, slots, numbered := strings.Cut(fields[0], "=")
	for slots := range strings.SplitSeq(slots, ",") {
		if slot, err := strconv.Atoi(slots); err == nil && slot >= 0 {
			n.Slots = append(n.Slots, slot)
		} else if numbered {
			return Notification{}, false
		}
	}
	switch verb {
	case "grant":
		n.Notice = Granted
	case "refuse":
		n.Notice = Refused
	case "revoke":
		n.Notice = Withdrawn
	default:
		return Notification{}, false
	}
	for i, into := range []*int64{&n.Expiry, &n.Token, &n.ServerTime} {
		v, err := strconv.ParseInt(fields[1+i], 10, 64)
		if err != nil || v < 0 || v > 1<<53 {
			return Notification{}, false
		}
		*into = v
	}
	// An id may have spaces in its label, which its owner ends; the owner has none.
	rest := fields[4]
	owner := max(0, strings.IndexByte(rest, '@'))
	end := strings.IndexByte(rest[owner:], ' ')
	if end < 0 {
		return Notification{}, false
	}
	n.ID, n.Holders = rest[:owner+end], rest[owner+end+1:]
	return n, true
}
