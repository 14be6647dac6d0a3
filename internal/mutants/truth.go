package main

// What errors say, and what comes back.
var truthMutants = []mutant{
	state("a server that has never answered is at capacity", "Stories/a_server_that_has_never_answered_is_not_at_capacity",
		edit{"internal/protocol/waiting.go", "w.Trouble != nil || s.neverAnswered(now, w)", "w.Trouble != nil"}),
	unit("one attempt has no bound of its own", "ComesBack",
		edit{"internal/protocol/waiting.go", "		w.Deadline = earlier(w.Deadline, now.Add(s.bound()))\n", ""},
		edit{"internal/protocol/asking.go", "why.Silent && !w.answered && !w.Once {", "why.Silent && !w.answered {"}),
	state("Release waits for Redis until its window ends", "Stories/a_release_that_is_not_answered",
		edit{"internal/protocol/releasing.go", "earlier(g.Until.End(), now.Add(maxReleaseWait))", "g.Until.End()"}),
	state("what passes fails a first attempt", "Stories/a_first_attempt_rides_out_what_passes",
		edit{"internal/protocol/asking.go", "	if why.Passing {", "	if why.Passing && w.answered {"}),
	unit("an error of a whole pipeline is that of no call", "WholePipeline",
		edit{call, "				whole = err\n", "				_ = err\n"}).of("./internal/transport"),
	unit("who waits for itself waits", "WaitsForItself",
		edit{semaphoreGo, "own > 0 && o.maxWait >= 0", "own > 1000"}),
	unit("an operator's larger capacity is a deadlock", "WaitsForItself",
		edit{semaphoreGo, "full.Capacity > 0 && own+o.weight > full.Capacity", "true"},
		edit{semaphoreGo, "		l, err := s.wait(ctx, once)\n", "		l, err := (*Lease)(nil), error(&CapacityError{})\n		_ = once\n"}),
	unit("a deadline without MaxHold", "MaxHoldShows",
		edit{use, "!h.EndsAt.IsZero()", "h.EndsAt.IsZero() && false"}),
	unit("a lease of another semaphore counts as one's own", "WaitsForItself",
		edit{semaphoreGo, "h.semaphore.cfg.Name == s.cfg.Name && h.valid()", "h.valid()"}),
	unit("a lease that has ended counts as held", "WaitsForItself",
		edit{semaphoreGo, "h.semaphore.cfg.Name == s.cfg.Name && h.valid()", "h.semaphore.cfg.Name == s.cfg.Name"}),
}
