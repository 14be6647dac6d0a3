package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// Faults is what can happen to a request and to its reply. Probabilities are
// in [0,1] and are drawn for each request on its own, when it is written. The
// zero value is a perfect network that takes no time.
type Faults struct {
	// Latency is how long a message travels, one way, and Jitter what it may
	// take longer, evenly spread. Messages on one connection never overtake
	// each other. A new connection takes one round trip.
	Latency time.Duration
	Jitter  time.Duration

	// DropRequest and DropReply lose a message, before or after the server
	// executed the request. TCP cannot lose one message and go on, so the
	// connection becomes a black hole: it stays open, swallows what is written
	// and brings nothing any more. With DropRequest nothing behind the lost
	// request arrives either; with DropReply, what was under way still does.
	DropRequest float64
	DropReply   float64

	// CutRequest and CutReply reset the connection, before or after the server
	// executed the request. Requests behind it do not arrive.
	CutRequest float64
	CutReply   float64

	// Duplicate executes the request once more, up to DuplicateAfter after the
	// first time, and throws the second reply away: what a client's retry or a
	// given-up attempt does. Only requests that stand alone are repeated, not
	// those that change their connection or belong to a MULTI.
	Duplicate      float64
	DuplicateAfter time.Duration

	// DelayRequest holds a request, and all behind it on its connection, back
	// for up to DelayUpTo. It reaches the server even when the client has
	// closed the connection meanwhile.
	DelayRequest float64
	DelayUpTo    time.Duration
}

func (f Faults) check() {
	for _, p := range []struct {
		name  string
		value float64
	}{
		{"DropRequest", f.DropRequest}, {"DropReply", f.DropReply},
		{"CutRequest", f.CutRequest}, {"CutReply", f.CutReply},
		{"Duplicate", f.Duplicate}, {"DelayRequest", f.DelayRequest},
	} {
		checkProbability(p.name, p.value)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"Latency", f.Latency}, {"Jitter", f.Jitter},
		{"DuplicateAfter", f.DuplicateAfter}, {"DelayUpTo", f.DelayUpTo},
	} {
		checkDuration(d.name, d.value)
	}
}

func checkProbability(name string, p float64) {
	if !(p >= 0 && p <= 1) { // written so that NaN fails too
		panic(fmt.Sprintf("sim: %s is %v, not a probability", name, p))
	}
}

func checkDuration(name string, d time.Duration) {
	if d < 0 {
		panic(fmt.Sprintf("sim: %s is negative: %v", name, d))
	}
}

// fate is what will happen to one request.
type fate struct {
	travel, back           time.Duration
	dropRequest, dropReply bool
	cutRequest, cutReply   bool
	duplicate              bool
	duplicateAfter         time.Duration
}

// fate draws. It always takes the same number of draws, so that one changed
// probability does not shift all others.
func (f *Faults) fate(r *rand.Rand) fate {
	x := fate{
		travel:         f.Latency + upTo(r, f.Jitter),
		back:           f.Latency + upTo(r, f.Jitter),
		dropRequest:    happens(r, f.DropRequest),
		dropReply:      happens(r, f.DropReply),
		cutRequest:     happens(r, f.CutRequest),
		cutReply:       happens(r, f.CutReply),
		duplicate:      happens(r, f.Duplicate),
		duplicateAfter: upTo(r, f.DuplicateAfter),
	}
	held, by := happens(r, f.DelayRequest), upTo(r, f.DelayUpTo)
	if held {
		x.travel += by
	}
	return x
}

func happens(r *rand.Rand, p float64) bool { return r.Float64() < p }

func upTo(r *rand.Rand, d time.Duration) time.Duration {
	return time.Duration(r.Float64() * float64(d))
}

// messageFaults is what can happen to a pub/sub message on its way to a client.
type messageFaults struct {
	drop           float64
	delay          float64
	upTo           time.Duration
	duplicate      float64
	duplicateAfter time.Duration
}

// DropMessages loses each pub/sub message from the server to a client with
// probability p; the connection lives on.
func (n *Network) DropMessages(p float64) {
	checkProbability("DropMessages", p)
	n.changeMessageFaults(func(f *messageFaults) { f.drop = p })
}

// DelayMessages holds each pub/sub message back with probability p, for up to
// that long, and with it all that comes behind it on its connection.
func (n *Network) DelayMessages(p float64, upTo time.Duration) {
	checkProbability("DelayMessages", p)
	checkDuration("DelayMessages", upTo)
	n.changeMessageFaults(func(f *messageFaults) { f.delay, f.upTo = p, upTo })
}

// DuplicateMessages sends each pub/sub message once more with probability p, up to that long after the first.
func (n *Network) DuplicateMessages(p float64, after time.Duration) {
	checkProbability("DuplicateMessages", p)
	checkDuration("DuplicateMessages", after)
	n.changeMessageFaults(func(f *messageFaults) { f.duplicate, f.duplicateAfter = p, after })
}

func (n *Network) changeMessageFaults(change func(*messageFaults)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := *n.messageFaults.Load()
	change(&f)
	n.messageFaults.Store(&f)
}
