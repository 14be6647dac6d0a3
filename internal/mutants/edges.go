package main

// Callers whose context ends, replies that are cut short, and who may close a manager.
var edgeMutants = []mutant{
	unit("a request that ended is answered by silence", "RequestThatEnds",
		edit{middleware, "if err := serve(w, r, next); err != nil {", "if err := serve(w, r, next); err != nil && r.Context().Err() == nil {"}),
	unit("an operator's short reply is not noticed", "TooShort",
		edit{"lease/operate.go", "ok := len(reply) == want", "ok := len(reply) <= want"}),
	unit("a short reply to an acquire is not noticed", "TooShort",
		edit{call, "ok = n == want", "ok = n <= want"}),
	unit("Close waits for who is told", "WhoIsTold",
		edit{"lease/events.go", "		go t.run()", "		t.wg.Go(t.run)"},
		edit{"lease/events.go", "	telling bool\n", "	telling bool\n	wg sync.WaitGroup\n"},
		edit{"lease/manager.go", "	m.wire.wait()\n", "	m.wire.wait()\n	m.teller.wg.Wait()\n"}),
	unit("a release that Close overtakes says released", "CloseOvertakes",
		edit{leaseGo, "if reason == ErrReleased {", "if false {"}),
	unit("the log names every semaphore", "LogIsBounded",
		edit{"lease/log.go", "known.more = len(known.names) == maxNamed", "known.more = false"}),
}
