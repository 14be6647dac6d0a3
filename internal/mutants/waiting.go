package main

// What waiting costs, and how long it goes on.
var waitingMutants = []mutant{
	unit("a release asks again for all who wait", "Desk",
		edit{exchange, "		speak = speak && ahead <= freed\n", "		speak = speak && (ahead <= freed || true)\n"}),
	unit("a release puts the poll of those it does not ask for off", "Desk",
		edit{exchange, "all && frees && d.cfg.MaxAttempts == 0", "(all || frees) && d.cfg.MaxAttempts == 0"}),
	unit("retries that follow the TTL", "DeskGivesBack",
		edit{exchange, "Max: min(d.cfg.TTL/16, maxDelay),", "Max: d.cfg.TTL / 16,"}),
}
