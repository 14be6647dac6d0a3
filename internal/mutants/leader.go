package main

const leaderGo = "lease/leader/leader.go"

// elected are the tests of package leader.
func elected(name, run string, edits ...edit) mutant {
	return mutant{name: name, edits: edits, pkg: "./lease/leader", run: run}
}

// A leader.
var leaderMutants = []mutant{
	elected("a leader that is cut off gives up", "CutOff",
		edit{leaderGo, "	case elected:\n		return true, nil\n", "	case elected:\n		return false, err\n"}),
	elected("a leader that resigns campaigns again", "Resigns",
		edit{leaderGo, "elected && ended == nil", "elected && ended == nil && err != nil"}),
	elected("a candidate gives up after MaxWait", "Resigns",
		edit{leaderGo, "[]lease.AcquireOption{lease.MaxWait(forever)}", "[]lease.AcquireOption{}"}),
	elected("a term has no end", "ATermIsOver",
		edit{leaderGo, "	if c.o.Term != 0 {\n", "	if false {\n"}),
	elected("trouble with Redis ends a campaign", "OutlastsTrouble",
		edit{leaderGo, "	case errors.Is(err, lease.ErrClosed),", "	case err != nil, errors.Is(err, lease.ErrClosed),"}),
	elected("two leaders are allowed", "DoesNotPass",
		edit{leaderGo, "s.Config().Capacity != 1", "s.Config().Capacity < 1"}),
	elected("a candidate whose manager is closed goes on", "OutlastsTrouble",
		edit{leaderGo, "errors.Is(err, lease.ErrClosed), ", ""}),
	elected("what lead returned is forgotten when ctx ends then", "GivesUpAndIsStopped",
		edit{leaderGo, "	case elected && ended == nil:\n		return false, err\n	case ctx.Err() != nil:\n		return false, context.Cause(ctx)\n", "	case ctx.Err() != nil:\n		return false, context.Cause(ctx)\n	case elected && ended == nil:\n		return false, err\n"}),
	elected("nobody hears of the end of a leader that panics", "HearsOfAPanic",
		edit{leaderGo, "		defer func() {\n			ended", "		defer func() {\n			if result == errPanicked {\n				return\n			}\n			ended"}),
}
