package main

const (
	resizeLua    = "lease/scripts/resize.lua"
	summarizeLua = "lease/scripts/summarize.lua"
)

// What operators set and see.
var operatorMutants = []mutant{
	unit("resume forgets what was set before the pause", "ResumeBringsBack",
		edit{resizeLua, "(before or '') or", "'' or"}),
	unit("a second pause forgets what the first interrupts", "ResumeBringsBack",
		edit{resizeLua, "current ~= '0' and current or before", "current"}),
	unit("a resize leaves what an earlier pause interrupts", "ResumeBringsBack",
		edit{resizeLua, "  if not before then\n    redis.call('HDEL', config, 'before')\n  end\n", ""}),
	unit("a resume that has nothing to resume says that it set it", "ResumeBringsBack",
		edit{resizeLua, "if before or to ~= current or ARGV[3] ~= 'resume' then", "if true then"}),
	unit("a summary counts what has expired", "SummariesSay",
		edit{summarizeLua, "'ZCOUNT', holders, after,", "'ZCOUNT', holders, '-inf',"}),
	unit("a summary's first is a dead one", "SummariesSay",
		edit{summarizeLua, "arrival == 0 and lives[owner]", "arrival == 0"}),
	unit("a summary counts places in place of callers", "SummariesSay",
		edit{summarizeLua, "calling = calling + math.max", "calling = calling + 0 * math.max"}),
	real("one name's trouble is that of all", "SummariesOfMany",
		edit{"lease/inspect.go", "failed > 0 && failed == len(names)", "failed > 0"}),
	real("a server that does not know a script is not told", "SummariesOfMany",
		edit{"internal/transport/transport.go", "		if slices.ContainsFunc(cmds, func(cmd *redis.SliceCmd) bool", "		if false && slices.ContainsFunc(cmds, func(cmd *redis.SliceCmd) bool"}),
}
