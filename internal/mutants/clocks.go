package main

const (
	clockWatch   = "lease/clockwatch.go"
	longest      = "lease/scripts/longest.lua"
	conversation = "lease/conversation.go"
)

// Steps of the server's clock, and other clocks.
var clockMutants = []mutant{
	unit("a step of the server's clock taken by each semaphore that finds it", "Step",
		edit{clockWatch, "		forward, changed = 0, false\n", ""}),
	unit("a step of the server's clock told again and again", "Step",
		edit{clockWatch, "	w.heard = r\n	forward = max(forward-w.taken, 0)", "	w.heard = r"}),
	unit("a step of the server's clock told to nobody", "Step",
		edit{"lease/manager.go", "			c.hear(server, step)\n", ""}),
	unit("a slow answer hides a step of the server's clock", "Step",
		edit{clockWatch, "return w.last.micros == 0 ||", "return true ||"}),
	unit("after a suspension the server's clock is guessed by the answer before", "Suspended",
		edit{clockWatch, " || suspended > drift(elapsed)", " || suspended < 0"}),
	unit("an answer from before a step measures a whole window", "Step",
		edit{conversation, "ex.behind = max(ex.behind, c.clock.behind(r))", "_ = ex.behind"}),
	unit("another node's clock is compared with nothing", "AnotherNode",
		edit{conversation, "		c.server = server // its", "		c.server, c.clock = server, clockWatch{} // its"}),
	unit("a request that is late by a step waits as after trouble", "AStepOfTheServersClock",
		edit{exchange, "		if !now.reached(ex.giveUp) {\n			again = now ", "		if !now.reached(ex.giveUp) && false {\n			again = now "}),
	unit("a permit from before a step back is not drawn in", "DrawnIn",
		edit{longest, "    drawInOf(holders, '@')\n", ""}),
	unit("PassBuddy's own permits are drawn in", "DrawnIn",
		edit{longest, "drawInOf(holders, '@')", "drawInOf(holders, '')"}),
	unit("a heavy request that finds no room draws nothing in", "DrawnIn",
		edit{acquire, "      drawIn()\n", ""}),
	unit("a heavy head that finds no room draws nothing in", "DrawnIn",
		edit{promote, "        drawIn()\n        break", "        break"}),
	unit("a permit with a longer TTL is drawn in", "LongerTTL",
		edit{grantLua, "  if longest > ttl then\n", "  if false then\n"}),
	unit("a permit with a longer TTL is drawn in when the fence is lost", "LongerTTL",
		edit{longest, "  return maxTTL\n", "  return 0\n"}),
	unit("a permit with a longer TTL is drawn in when the fence is made anew by the shorter way", "LongerTTL|FenceThat",
		edit{uncontended, "if not before and held == 0 or", "if not before or"}),
	unit("several grants of one call forget a longer TTL", "LongerTTL",
		edit{grantLua, "whole(token) .. declared,", "whole(token) .. ' ' .. ARGV[2] .. ' ' .. ARGV[1],"}),
	unit("a longer TTL is never forgotten", "LongerTTL",
		edit{longest, "  if held == 0 and waiting == 0 then\n", "  if false then\n"}),
	unit("an alive mark from before a step back is not drawn in", "DrawnIn|DiesWith",
		edit{promote, "        if until_[owner] > later + ttl then\n", "        if false then\n"},
		edit{nextWaiter, " and until_ <= later + ttl then", " then"}),
	unit("an alive mark from before a step back is not drawn in where one permit goes to the next", "DrawnIn",
		edit{nextWaiter, " and until_ <= later + ttl then", " then"}),
	unit("who waits does not say its TTL", "LongerTTL|FenceThat",
		edit{acquire, "      declareTTL()\n", ""}),
	unit("who joins the queue again does not say its TTL", "LongerTTL",
		edit{acquire, "    if added > 0 then\n", "    if joined then\n"}),
}
