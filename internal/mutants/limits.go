package main

// Limits that change while they are used.
var limitMutants = []mutant{
	unit("a newer handle changes nothing", "LimitThatIsRaised",
		edit{managerGo, "			if s.number > d.handle.number {\n", "			if false {\n"},
		edit{semaphoreGo, "Capacity: s.cfg.Capacity, Once", "Once"}),
	state("what waits is not asked for anew when a limit is raised", "Stories/limits_change_while_they_are_used",
		edit{stateGo, "	s.Seen.Capacity = cfg.Capacity // an operator's, if there is one, comes with the next answer\n	if s.Waiting.Len > 0 {\n		s.join(now)\n	}\n", ""}),
	state("a window goes by the TTL of before", "Stories/limits_change_while_they_are_used",
		edit{stateGo, "	s.Config, s.Window, s.longestTTL = cfg, cfg.TTL-cfg.Margin,", "	s.Config, s.longestTTL = cfg,"}),
	state("a caller asks by what another declares", "Stories/limits_change_while_they_are_used",
		edit{batchGo, "b.Calls[n-1].Capacity != capacity || ", ""}),
	unit("an operator's tool declares a capacity of its own", "OperatorsNeed",
		edit{"lease/operate.go", "			state.Capacity = int(r.OtherCapacity)\n", ""}),
}
