package main

const (
	lingerGo = "internal/protocol/lingering.go"
	shutdown = "lease/shutdown.go"
)

// Permits that linger.
var lingerMutants = []mutant{
	state("a permit is reused past the period", "Stories",
		edit{lingerGo, " && !now.Reached(s.quietAsOf.Add(s.Config.Linger))", ""}),
	fleet("a permit is reused past the period, in a fleet",
		edit{lingerGo, " && !now.Reached(s.quietAsOf.Add(s.Config.Linger))", ""},
		edit{lingerGo, "earlier(now, s.quietAsOf).Add(", "now.Add("},
		edit{lingerGo, "earlier(s.lingering[0].idleSince, s.quietAsOf).Add(", "s.lingering[0].idleSince.Add("}),
	state("a permit is reused while somebody waits", "Stories",
		edit{lingerGo, "case o != nil && (o.Waiting > 0 || s.Seen.overfull):", "case o != nil && s.Seen.overfull:"}),
	fleet("a permit is reused while somebody waits, in a fleet",
		edit{lingerGo, "case o != nil && (o.Waiting > 0 || s.Seen.overfull):", "case o != nil && s.Seen.overfull:"}),
	unit("a permit is reused during a pause", "Operator",
		edit{lingerGo, "case o != nil && (o.Waiting > 0 || s.Seen.overfull):", "case o != nil && o.Waiting > 0:"}),
	state("the period counts from the answer", "Stories",
		edit{lingerGo, "		s.quietAsOf = sent\n", "		s.quietAsOf = now\n"}),
	state("a renewal begins a period", "Stories",
		edit{"internal/protocol/renewing.go", "	s.takeStatus(now, c)\n	lost := c.Lost\n", "	s.takeStatus(now, c)\n	s.quietAsOf = batch.Sent\n	lost := c.Lost\n"}),
	state("an old answer begins a period after somebody came to wait", "Stories",
		edit{lingerGo, "case sent.Mono > s.busyAsOf.Mono && ", "case "}),
	unit("the context of a permit that lingers lives", "Lingers",
		edit{"lease/lease.go", "	reason := h.end(ErrReleased)\n", "	reason := ErrReleased\n"}),
	unit("the token of a reused permit is not larger", "Lingers",
		edit{lingerGo, "			g.handed++\n", ""}),
	unit("tokens run out", "Lingers",
		edit{lingerGo, "(g.handed >= maxHandovers/2 || ", "("}),
	state("a permit that lingers is never given back", "Stories",
		edit{lingerGo, "	s.giveBackIdle(now, n)\n", "	s.giveBackIdle(now, 0)\n"}),
	unit("Close does not wait for what lingers", "GoBackWithTheManager",
		edit{shutdown, "	await(m.drain())\n", "	_ = m.drain()\n"}),
	unit("Shutdown keeps what lingers", "GoBackWithTheManager",
		edit{lingerGo, "	s.endLingering(now)\n	return idle\n", "	return idle\n"}),
	state("a caller of another weight waits for what lingers", "Stories",
		edit{lingerGo, "	s.endLingering(now)\n	return false\n", "	return false\n"}),
	unit("a lost permit is granted anew", "GrantedAnew",
		edit{"lease/scripts/calls.go", "return append(args, id, \"=\")", "return append(args, id, \"\")"}),
	unit("a handle of a smaller capacity reuses a permit", "SmallerCapacity",
		edit{lingerGo, "(w.Capacity == 0 || w.Capacity >= s.Config.Capacity)", "true"}),
	state("a permit that is granted anew may be handed over while somebody waits", "Stories",
		edit{lingerGo, "if !s.quietAsOf.IsZero() {", "if true {"}),
}
