package main

const (
	clockWatch   = "lease/clockwatch.go"
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
}
