package main

const (
	desk     = "lease/desk.go"
	exchange = "lease/exchange.go"
	grant    = "lease/grant.go"
	leaseGo  = "lease/lease.go"
	call     = "lease/call.go"
	acquire  = "lease/scripts/acquire.lua"
	renew    = "lease/scripts/renew.lua"
	now      = "lease/scripts/now.lua"
)

// unit are the tests of package lease that need no real time.
func unit(name, run string, edits ...edit) mutant {
	return mutant{name: name, edits: edits, pkg: "./lease", run: run}
}

// fleet are the simulated fleets, enough of them to meet the trouble that shows the mutant.
func fleet(name string, edits ...edit) mutant {
	return mutant{name: name, edits: edits, pkg: "./internal/sim", run: "Fleet", args: []string{"-seeds", "24"}}
}

var mutants = []mutant{
	// Promise 1, capacity.
	unit("capacity off by one", "Promise1|AcquireScript",
		edit{acquire, "local granted = held < capacity", "local granted = held <= capacity"}),
	unit("unconditional delete", "Promise4|Script|Desk",
		edit{acquire, "redis.call('ZREMRANGEBYSCORE', holders, '-inf', expired)", "redis.call('DEL', holders)"}),
	fleet("renewal that adds",
		edit{renew, "'XX', 'GT', 'CH'", "'GT', 'CH'"}),
	unit("renewal that adds, seen by the script's test", "RenewScript",
		edit{renew, "'XX', 'GT', 'CH'", "'GT', 'CH'"}),
	unit("renewal that revives an expired permit", "RenewScript",
		edit{renew, "redis.call('ZREMRANGEBYSCORE', holders, '-inf', expired)", ""}),
	fleet("client clock in a script",
		edit{now, "clock[1] * 1000000 + clock[2]", "tonumber(ARGV[#ARGV])"},
		edit{call, "	return redis.NewIntSliceCmd(ctx, args...)", "	args = append(args, o.conversation.manager.clock.Now().UnixMicro())\n	return redis.NewIntSliceCmd(ctx, args...)"},
		edit{acquire, "for i = 4, #ARGV do", "for i = 4, #ARGV - 1 do"},
		edit{renew, "for i = 2, #ARGV do", "for i = 2, #ARGV - 1 do"}),

	// Promise 2, told in time.
	unit("window from receipt", "Desk",
		edit{exchange, "windowEnd(ex.sent, expiry, server, d.cfg.Margin), token)", "windowEnd(now, expiry, server, d.cfg.Margin), token)"}),
	fleet("window from receipt, in a fleet",
		edit{exchange, "windowEnd(ex.sent, expiry, server, d.cfg.Margin), token)", "windowEnd(now, expiry, server, 0), token)"},
		edit{exchange, "end := windowEnd(ex.sent, c.reply[1], c.reply[0], d.cfg.Margin)", "end := windowEnd(now, c.reply[1], c.reply[0], 0)"}),
	unit("timer tied to the renewer", "Promise2",
		edit{"lease/conversation.go", "	at := c.desk.endAt\n	if at.isZero() {", "	at := c.desk.endAt\n	if true {"}),
	unit("margin dropped", "Window|Promise2",
		edit{grant, "time.Microsecond - margin)", "time.Microsecond)"}),
	unit("expiry counted for longer than Redis keeps it", "Script",
		edit{acquire, "reply[n + 1], reply[n + 2] = expiry, token", "reply[n + 1], reply[n + 2] = expiry + 1, token"}),
	unit("a score lowered by another TTL", "Script",
		edit{renew, "'XX', 'GT', 'CH'", "'XX', 'CH'"}),
	unit("a score lowered by another TTL at acquire", "Script",
		edit{acquire, "redis.call('ZADD', holders, 'GT', score, id)", "redis.call('ZADD', holders, score, id)"}),
	unit("re-grant that does not extend", "Script",
		edit{acquire, "redis.call('ZADD', holders, 'GT', score, id)", "redis.call('ZADD', holders, 'NX', score, id)"}),
	unit("wall clock ignored after a suspend", "TimeHasPassed",
		edit{grant, "return i.mono >= at.mono || i.wall >= at.wall", "return i.mono >= at.mono"}),
	unit("only the wall clock", "TimeHasPassed",
		edit{grant, "return i.mono >= at.mono || i.wall >= at.wall", "return i.wall >= at.wall"}),
	unit("Err does not look at the clock", "AfterAPause",
		edit{leaseGo, "func (c *leaseContext) Err() error {\n	c.look()", "func (c *leaseContext) Err() error {"}),
	unit("Done does not look at the clock", "AfterAPause",
		edit{leaseGo, "func (c *leaseContext) Done() <-chan struct{} {\n	c.look()", "func (c *leaseContext) Done() <-chan struct{} {"}),
	unit("a jump of the server's clock shortens nothing", "Desk",
		edit{desk, "g.until.set(g.until.end().add(-by))", "g.until.set(g.until.end())"}),
	unit("a jump of the server's clock goes unseen", "Readings",
		edit{"lease/servertime.go", "case server > longest+allowed:", "case server > longest+allowed+time.Hour:"}),

	// Promise 3, no false loss.
	unit("one attempt to renew in each window", "Desk",
		edit{exchange, "giveUp: now.add(d.cfg.attempt())", "giveUp: now.add(d.cfg.TTL)"}),
	unit("renewal as late as the window's end", "Promise3|Desk",
		edit{desk, "float64(d.window/3) * d.pace", "float64(d.window) * d.pace"}),
	unit("a failed renewal is not repeated", "Promise3",
		edit{exchange, "d.renewAt = earlier(d.renewAt, again)", "_ = again"}),
	unit("READONLY answered as lost", "RenewScript",
		edit{renew, "redis.call('ZREMRANGEBYSCORE', holders, '-inf', expired)", "if redis.call('EXISTS', holders) == 0 then return {now, expiry, 1} end"}),
	unit("NOSCRIPT not handled", "Promise3",
		edit{call, "if missing < 0 || pass == passes {", "if true || missing < 0 || pass == passes {"}),

	// Promise 4, loss is final.
	unit("late reply accepted", "Desk",
		edit{exchange, "		d.flight = nil\n	}\n	d.tick(now)", "		d.flight = nil\n	}"}),
	unit("a grant past its window becomes a lease", "Desk",
		edit{exchange, "	if now.reached(end) {\n		g.waiter, w.grant = nil, nil", "	if false {\n		g.waiter, w.grant = nil, nil"},
		edit{exchange, "if now.until(end) < d.window*2/3 {", "if false {"}),
	unit("an old grant is handed over without a renewal", "Desk",
		edit{exchange, "if now.until(end) < d.window*2/3 {", "if false {"}),
	unit("an id used again after its release", "Desk",
		edit{exchange, "		g.waiter, w.grant = nil, nil\n		d.owe(now, g)", "		_ = w\n		d.owe(now, g)"}),

	// Promise 5, a permit goes back when its holder says so.
	unit("release before the contexts end", "ReleaseEnds",
		edit{leaseGo, "	reason := h.end(ErrReleased)\n", "	reason := error(ErrReleased)\n	defer h.end(ErrReleased)\n"}),
	unit("Held ends with the caller's context", "CancellingTheCaller",
		edit{leaseGo, "l.derive(context.WithoutCancel(l.hold.parent), ", "l.derive(l.hold.parent, "}),
	unit("MaxHold ignored", "Promise5|Desk",
		edit{desk, "d.holdAt = earlier(d.holdAt, w.hold.endsAt)", ""}),
	unit("MaxHold gives the permit back", "Promise5",
		edit{desk, "		d.end(h, ended, &HoldError{Name: d.cfg.Name, ID: g.id, Token: h.token, MaxHold: h.maxHold})",
			"		d.end(h, ended, &HoldError{Name: d.cfg.Name, ID: g.id, Token: h.token, MaxHold: h.maxHold})\n		d.owe(now, g)"}),
	unit("Close gives back", "Promise5",
		edit{"lease/manager.go", "	m.renewer.stop()\n", "	for _, c := range m.all() {\n		for _, g := range c.desk.held {\n			m.client.ZRem(context.Background(), c.keys.holders.(string), g.id)\n		}\n	}\n	m.renewer.stop()\n"}),

	// Promise 6, always a reason.
	unit("a loss does not carry the Redis error", "Promise6",
		edit{desk, "Reason: why, Err: d.trouble}", "Reason: why}"}),
	unit("the caller's cause is forgotten", "Promise6|CancellingTheCaller",
		edit{leaseGo, "		return context.Cause(l.hold.parent)", "		return l.hold.parent.Err()"}),

	// Promise 7, nothing leaks.
	unit("cancelled acquire that forgets its clean-up", "Promise7|Desk",
		edit{desk, "} else if g.unanswered > 0 {\n			d.owe(now, g)", "} else if g.unanswered > 0 {\n			g.state = gone"}),
	unit("a given-up acquire still takes a permit", "AcquireScript|Promise7",
		edit{acquire, "if notAfter > 0 and now > notAfter then", "if false then"}),
	unit("a given-up acquire has no limit", "Desk|Promise7",
		edit{exchange, "ex.notAfter = server.notAfter(ex.giveUp)", "ex.notAfter = 0"}),
	unit("release sent before the request can be too late", "Desk",
		edit{desk, "	if g.state == asked && !g.settled(now) {", "	if false {"}),
	unit("debts of an outage are kept for ever", "Desk|Promise7",
		edit{desk, "now.reached(g.moot)", "false"}),
	unit("a collected lease is renewed for ever", "ALeaseThatIsCollected",
		edit{exchange, "		d.dropOrphans()\n", ""}),

	// Promise 10, tokens grow.
	unit("token from INCR", "Promise10|AcquireScript",
		edit{acquire, "      local before = redis.call('SET', fence, string.format('%.0f', now), 'KEEPTTL', 'GET')",
			"      local before = redis.call('INCR', fence) - 1\n      token = before + 1"}),
	unit("the fence forgets a clock that stepped back", "Promise10|AcquireScript",
		edit{acquire, "      if before >= now then\n        token = before + 1\n      end", ""}),
}
