package protocol

import "time"

// A Reading is what one batch told of a server's clock: it showed Micros at some moment between Sent
// and Received. The zero reading says nothing.
type Reading struct {
	Sent, Received Instant
	Micros         int64
}

// drift is how far two clocks may part within d: a thousandth (clocks are slewed by half of that) and
// a millisecond. The wall clock plays no role here: a step of it says nothing about the server.
func drift(d time.Duration) time.Duration { return max(d, 0)/1000 + time.Millisecond }

// notAfter returns the latest time that the server's clock can show at at, in µs, and 0 when nothing is
// known of it.
func (r Reading) notAfter(at Instant) int64 {
	if r.Micros == 0 {
		return 0
	}
	d := at.Mono - r.Sent.Mono
	return r.Micros + (d + drift(d)).Microseconds()
}

// surelyAfter returns when the server's clock has passed micros for certain.
func (r Reading) surelyAfter(micros int64) Instant {
	d := time.Duration(micros-r.Micros) * time.Microsecond
	return r.Received.Add(d + drift(d))
}

// Jump compares a later reading with r. Either of them leaves a range for the difference between the
// server's clock and ours; where the two ranges, widened by drift, do not meet, the server's clock is
// not the one that we knew. changed reports that; forward is how far it may have jumped ahead.
func (r Reading) Jump(later Reading) (forward time.Duration, changed bool) {
	if r.Micros == 0 {
		return 0, false
	}
	server := time.Duration(later.Micros-r.Micros) * time.Microsecond
	shortest := later.Sent.Mono - r.Received.Mono
	longest := later.Received.Mono - r.Sent.Mono
	allowed := drift(longest)
	asleep := later.Received.Wall - r.Sent.Wall // the monotonic clock stands still meanwhile
	switch {
	case server > longest+allowed && server <= asleep+drift(asleep):
		return 0, false
	case server > longest+allowed:
		return server - shortest, true
	case server < shortest-allowed:
		return 0, true
	}
	return 0, false
}
