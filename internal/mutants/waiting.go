package main

// What waiting costs, and how long it goes on.
var waitingMutants = []mutant{
	unit("a release asks again for all who wait", "Desk",
		edit{exchange, "		speak = speak && ahead <= freed\n", "		speak = speak && (ahead <= freed || true)\n"}),
	unit("a release puts the poll of those it does not ask for off", "Desk",
		edit{exchange, "all && frees && d.cfg.MaxAttempts == 0", "(all || frees) && d.cfg.MaxAttempts == 0"}),
	unit("retries that follow the TTL", "DeskGivesBack",
		edit{exchange, "Max: min(d.cfg.TTL/16, maxDelay),", "Max: d.cfg.TTL / 16,"}),
	unit("a pause that a process was told of does not end hand-over", "Pause",
		edit{desk, "	if d.full.over || d.failures", "	if d.failures"}),
	unit("a process that hands over is not told of a pause", "Pause",
		edit{desk, "d.full.told.add(d.cfg.RetryInterval))\n	}", "now.add(d.cfg.RetryInterval))\n	}"},
		edit{desk, "now.reached(d.full.told.add(2*d.cfg.RetryInterval))", "false"}),
	unit("waits that end in the wrong order", "DeskEnds",
		edit{"lease/endings.go", "e.list[i].deadline.mono < e.list[j]", "e.list[i].deadline.mono > e.list[j]"}),
	unit("a neighbour's smaller capacity refuses a heavy waiter", "Promote",
		edit{promote, "elseif overridden and weight > limit or", "elseif weight > limit or"}),
	unit("who asks again keeps the place of an earlier arrival", "Desk",
		edit{"lease/waiter.go", "	w.place, w.asked = 0, instant{} //", "	//"}),
}
