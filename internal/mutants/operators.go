package main

const (
	resizeLua    = "lease/scripts/resize.lua"
	summarizeLua = "lease/scripts/summarize.lua"
)

// What operators set and see.
var operatorMutants = []mutant{
	unit("resume forgets what was set before the pause", "ResumeBringsBack",
		edit{resizeLua, "to = known[2] or ''", "to = ''"}),
	unit("a second pause forgets what the first interrupts", "ResumeBringsBack",
		edit{resizeLua, "      before = known[2]\n", "      before = current\n"}),
	unit("a resize leaves what an earlier pause interrupts", "ResumeBringsBack",
		edit{resizeLua, "    redis.call('HDEL', config, 'before')\n", ""}),
	unit("a resume that has nothing to resume says that it set it", "ResumeBringsBack",
		edit{resizeLua, "      return -- nothing to resume\n", "      known[2] = current\n"}),
	script("a pause without a resize brings back what an older version has left", "APauseInterrupts",
		edit{resizeLua, "    to, before = '0', current\n", "    to, before = '0', current or known[2]\n"}),
	script("the rest of a large promotion sets the capacity again", "TheRestOfAPromotion",
		edit{resizeLua, "if ARGV[3] ~= 'more' then", "if true then"}),
	unit("a summary counts what has expired", "SummariesSay",
		edit{summarizeLua, "'ZCOUNT', holders, after,", "'ZCOUNT', holders, '-inf',"}),
	unit("a summary's first is a dead one", "SummariesSay",
		edit{summarizeLua, "arrival == 0 and lives[owner]", "arrival == 0"}),
	script("a summary counts the places of a long queue twice", "ALongQueue",
		edit{summarizeLua, " - n - unseen)", " - n)"}),
	unit("a summary says when the last permit expires", "SummariesSay",
		edit{summarizeLua, "'ZRANGEBYSCORE', holders, after, '+inf', 'WITHSCORES'", "'ZREVRANGEBYSCORE', holders, '+inf', after, 'WITHSCORES'"}),
	real("why a pipeline was not sent is lost", "SayWhyNone",
		edit{"internal/transport/transport.go", "					cmd.SetErr(whole)\n", "					_ = cmd\n"}),
	unit("a summary counts places in place of callers", "SummariesSay",
		edit{summarizeLua, "calling = calling + math.max", "calling = calling + 0 * math.max"}),
	real("one name's trouble is that of all", "SummariesOfMany",
		edit{"lease/inspect.go", "failed > 0 && failed == len(names)", "failed > 0"}),
	real("a server that does not know a script is not told", "SummariesOfMany",
		edit{"internal/transport/transport.go", "		if slices.ContainsFunc(cmds, func(cmd *redis.SliceCmd) bool", "		if false && slices.ContainsFunc(cmds, func(cmd *redis.SliceCmd) bool"}),
}
