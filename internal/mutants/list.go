package main

const (
	stateGo     = "internal/protocol/state.go"
	batchGo     = "internal/protocol/batch.go"
	grant       = "internal/protocol/grant.go"
	leaseGo     = "lease/lease.go"
	call        = "internal/transport/call.go"
	acquire     = "lease/scripts/acquire.lua"
	renew       = "lease/scripts/renew.lua"
	clockLua    = "lease/scripts/include/clock.lua"
	shared      = "lease/scripts/include/shared.lua"
	purgeLua    = "lease/scripts/include/purge.lua"
	grantLua    = "lease/scripts/include/grant.lua"
	uncontended = "lease/scripts/include/uncontended.lua"
	nextWaiter  = "lease/scripts/include/next_waiter.lua"
	promote     = "lease/scripts/include/promote.lua"
	release     = "lease/scripts/release.lua"
	publishLua  = "lease/scripts/include/publish.lua"
	callsGo     = "lease/scripts/calls.go"
	repliesGo   = "lease/scripts/replies.go"
	revoke      = "lease/scripts/revoke.lua"
	notifyGo    = "internal/protocol/notification.go"
	renewals    = "internal/protocol/renewing.go"
	pipelineGo  = "internal/transport/pipeline.go"
)

// unit are the tests of package lease that need no real time.
func unit(name, run string, edits ...edit) mutant {
	return mutant{name: name, edits: edits, pkg: "./lease", run: run}
}

// script are the tests of the scripts, on miniredis and on a real Redis.
func script(name, run string, edits ...edit) mutant {
	return mutant{name: name, edits: edits, pkg: "./lease/scripts", run: run, real: true}
}

// state are the tests of package protocol.
func state(name, run string, edits ...edit) mutant {
	return mutant{name: name, edits: edits, pkg: "./internal/protocol", run: run}
}

// handler are the tests of package leasehttp.
func handler(name, run string, edits ...edit) mutant {
	return mutant{name: name, edits: edits, pkg: "./lease/leasehttp", run: run}
}

// real are the tests of package lease, those on a real Redis too.
func real(name, run string, edits ...edit) mutant {
	return mutant{name: name, edits: edits, pkg: "./lease", run: run, real: true}
}

// fleet are the simulated fleets, enough of them to meet the trouble that shows the mutant.
func fleet(name string, edits ...edit) mutant {
	return mutant{name: name, edits: edits, pkg: "./internal/sim", run: "Fleet", args: []string{"-seeds", "32", "-life", "4m", "-first"}}
}

// rare is fleet for what few fleets can show: those that meet it are one in ten.
func rare(name string, edits ...edit) mutant {
	m := fleet(name, edits...)
	m.args = []string{"-seeds", "200", "-life", "4m", "-first"}
	return m
}

var mutants = []mutant{
	// Promise 1, capacity.
	script("capacity off by one", "Promise1|AcquireScript",
		edit{acquire, "if held + weight > limit and (purge() == 0 or held + weight > limit) then", "if held + weight > limit + 1 and (purge() == 0 or held + weight > limit + 1) then"}),
	script("capacity off by one, where nobody waits", "Promise1|AcquireScript",
		edit{uncontended, "held + asked <= capacity then", "held + asked <= capacity + 1 then"}),
	script("unconditional delete", "Script",
		edit{purgeLua, "redis.call('ZREMRANGEBYSCORE', holders, '-inf', whole(math.floor(now / 1000)))", "redis.call('ZREMRANGEBYRANK', holders, 0, -1)"}),
	fleet("renewal that adds",
		edit{renew, "'XX', 'GT', 'CH'", "'GT', 'CH'"}),
	script("renewal that adds, seen by the script's test", "RenewScript",
		edit{renew, "'XX', 'GT', 'CH'", "'GT', 'CH'"}),
	script("renewal that revives an expired permit", "RenewScript",
		edit{renew, "local freed = purge()", "local freed = 0"}),
	fleet("client clock in a script",
		edit{clockLua, "now = seconds * 1000000 + micros ", "now = tonumber(string.match(ARGV[1], ':(%d+)') or seconds * 1000000 + micros) "},
		edit{shared, "local ttl, capacity = ARGV[1] + 0,", "local ttl, capacity = tonumber(string.match(ARGV[1], '%d+')),"},
		edit{call, "	return routed(redis.NewIntSliceCmd(ctx, args...))", "	args[8] = fmt.Sprintf(\"%d:%d\", args[8], r.batch.Sent.Wall.Microseconds())\n	return routed(redis.NewIntSliceCmd(ctx, args...))"},
		edit{call, "import (\n\t\"context\"\n", "import (\n\t\"context\"\n\t\"fmt\"\n"}),

	// Promise 2, told in time.
	state("window from receipt", "Stories",
		edit{batchGo, "s.granted(now, batch.Sent, g, WindowEnd(batch.Sent, expiry,", "s.granted(now, batch.Sent, g, WindowEnd(now, expiry,"}),
	fleet("window from receipt, in a fleet",
		edit{batchGo, "s.granted(now, batch.Sent, g, WindowEnd(batch.Sent, expiry, server, s.Config.Margin+batch.Behind)", "s.granted(now, batch.Sent, g, WindowEnd(now, expiry, server, 0)"},
		edit{batchGo, "end := WindowEnd(batch.Sent, c.Expiry, c.Server, s.Config.Margin+batch.Behind)", "end := WindowEnd(now, c.Expiry, c.Server, 0)"}),
	unit("timer tied to the renewer", "Promise2",
		edit{driverGo, "if at := d.state.EndAt; !at.IsZero() {", "if at := d.state.EndAt; !at.IsZero() && false {"}),
	state("margin dropped", "Window",
		edit{grant, "time.Microsecond - margin)", "time.Microsecond)"}),
	script("expiry counted for longer than Redis keeps it", "Script",
		edit{acquire, "reply[from - 3], reply[from - 2] = expiry, grant(", "reply[from - 3], reply[from - 2] = expiry + 1, grant("}),
	script("expiry counted for longer than Redis keeps it, where nobody waits", "AcquireScript",
		edit{uncontended, "local reply = {now, 0, expiry, now}", "local reply = {now, 0, expiry + 1, now}"}),
	script("a score lowered by another TTL", "Script",
		edit{renew, "'XX', 'GT', 'CH'", "'XX', 'CH'"}),
	script("a score lowered by another TTL at acquire", "Script",
		edit{grantLua, "redis.call('ZADD', holders, 'GT', score, id)", "redis.call('ZADD', holders, score, id)"}),
	script("a score lowered by another TTL at acquire, where nobody waits", "AcquireScript",
		edit{uncontended, "redis.call('ZADD', holders, 'GT', score, ARGV[6])", "redis.call('ZADD', holders, score, ARGV[6])"}),
	script("re-grant that does not extend", "Script",
		edit{grantLua, "redis.call('ZADD', holders, 'GT', score, id)", "redis.call('ZADD', holders, 'NX', score, id)"}),
	script("re-grant that does not extend, where nobody waits", "AcquireScript",
		edit{uncontended, "redis.call('ZADD', holders, 'GT', score, ARGV[6])", "redis.call('ZADD', holders, 'NX', score, ARGV[6])"}),
	state("wall clock ignored after a suspend", "TimeHasPassed",
		edit{grant, "return i.Mono >= at.Mono || i.Wall >= at.Wall", "return i.Mono >= at.Mono"}),
	state("only the wall clock", "TimeHasPassed",
		edit{grant, "return i.Mono >= at.Mono || i.Wall >= at.Wall", "return i.Wall >= at.Wall"}),
	unit("Err does not look at the clock", "AfterAPause",
		edit{leaseGo, "func (c *leaseContext) Err() error {\n	c.look()", "func (c *leaseContext) Err() error {"}),
	unit("Done does not look at the clock", "AfterAPause",
		edit{leaseGo, "func (c *leaseContext) Done() <-chan struct{} {\n	c.look()", "func (c *leaseContext) Done() <-chan struct{} {"}),
	unit("a context does not look at the leases above", "AnswersForAllLeases",
		edit{leaseGo, "for l := c.above; l != nil; l =", "for l := c.above; l != nil && false; l ="}),
	state("a jump of the server's clock shortens nothing", "Stories",
		edit{stateGo, "g.Until.set(g.Until.End().Add(-by))", "g.Until.set(g.Until.End())"}),
	state("a jump of the server's clock goes unseen", "Readings",
		edit{"internal/protocol/reading.go", "case server > longest+allowed:", "case server > longest+allowed+time.Hour:"}),

	// Promise 3, no false loss.
	state("one attempt to renew in each window", "State",
		edit{batchGo, "giveUp: now.Add(s.bound())", "giveUp: now.Add(s.Config.TTL)"}),
	state("renewal as late as the window's end", "State",
		edit{stateGo, "float64(s.Window/3) * s.pace", "float64(s.Window) * s.pace"}),
	unit("a failed renewal is not repeated", "Promise3",
		edit{batchGo, "s.RenewAt = earlier(s.RenewAt, again)", "_ = again"}),
	script("READONLY answered as lost", "RenewScript",
		edit{renew, "local freed = purge()", "if redis.call('EXISTS', holders) == 0 then return {now, expiry, 0, 1} end\nlocal freed = purge()"}),
	unit("NOSCRIPT not handled", "Promise3",
		edit{call, "if missing < 0 || pass == passes {", "if true || missing < 0 || pass == passes {"}),

	// Promise 4, loss is final.
	state("late reply accepted", "Stories",
		edit{batchGo, "		s.Batch = nil\n	}\n	s.Tick(now)", "		s.Batch = nil\n	}"}),
	state("a grant past its window becomes a lease", "Stories",
		edit{batchGo, "	if now.Reached(end) {\n		s.detach(g)", "	if false {\n		s.detach(g)"},
		edit{batchGo, "if now.Until(end) < s.Window*2/3 {", "if false {"}),
	state("an old grant is handed over without a renewal", "Stories",
		edit{batchGo, "if now.Until(end) < s.Window*2/3 {", "if false {"}),
	state("an id used again after its release", "Stories",
		edit{batchGo, "	if now.Reached(end) {\n		s.detach(g)\n", "	if now.Reached(end) {\n"}),

	// Promise 5, a permit goes back when its holder says so.
	unit("release before the contexts end", "ReleaseEnds",
		edit{leaseGo, "	reason := h.end(ErrReleased)\n", "	reason := error(ErrReleased)\n	defer h.end(ErrReleased)\n"}),
	unit("Held ends with the caller's context", "CancellingTheCaller",
		edit{leaseGo, "l.derive(context.WithoutCancel(l.hold.parent), ", "l.derive(l.hold.parent, "}),
	state("MaxHold ignored", "Stories",
		edit{stateGo, "s.holdAt = earlier(s.holdAt, w.Holding.EndsAt)", ""}),
	unit("MaxHold gives the permit back", "Promise5",
		edit{stateGo, "		s.end(now, h, ended, &Reason{Kind: HeldTooLong})",
			"		s.end(now, h, ended, &Reason{Kind: HeldTooLong})\n		s.giveBack(now, g)"}),
	unit("Close gives back", "Promise5",
		edit{"lease/manager.go", "	m.renewer.stop()\n", "	for _, c := range m.all() {\n		m.client.Del(context.Background(), c.keys.Holders().(string))\n	}\n	m.renewer.stop()\n"}),

	// Promise 6, always a reason.
	unit("a loss does not carry the Redis error", "Promise6",
		edit{stateGo, "&Reason{Kind: why, Trouble: s.Trouble}", "&Reason{Kind: why}"}),
	unit("the caller's cause is forgotten", "Promise6|CancellingTheCaller",
		edit{leaseGo, "		return context.Cause(l.hold.parent)", "		return l.hold.parent.Err()"}),

	// Promise 7, nothing leaks.
	state("cancelled acquire that forgets its clean-up", "Stories",
		edit{stateGo, "	case g.unanswered > 0 || g.queued:\n		s.giveBack(now, g)", "	case g.unanswered > 0 || g.queued:\n		g.State = gone"}),
	script("a given-up acquire still takes a permit", "AcquireScript",
		edit{acquire, "local late = notAfter > 0 and now > notAfter", "local late = false"}),
	state("a given-up acquire has no limit", "State",
		edit{batchGo, "batch.NotAfter = server.notAfter(batch.giveUp)", "batch.NotAfter = 0"}),
	state("release sent before the request can be too late", "Stories",
		edit{stateGo, "	if g.State == asked && !g.isQuiet(now) {", "	if false {"}),
	state("releases that are due of an outage are kept for ever", "State",
		edit{stateGo, "now.Reached(g.expiresBy)", "false"}),
	unit("a collected lease is renewed for ever", "ALeaseThatIsCollected",
		edit{renewals, "	s.dropOrphans(now)\n", ""}),

	// Promise 10, tokens grow.
	script("token counted from one", "Promise10|AcquireScript",
		edit{grantLua, "  local first = now\n", "  local first = (before and tonumber(string.match(before, '^%d+')) or 0) + 1\n"},
		edit{grantLua, "  if before and before >= text then\n", "  if false then\n"},
		edit{uncontended, "before and before < text and", "before and"}),
	script("the fence forgets a clock that stepped back", "Promise10|AcquireScript",
		edit{grantLua, "  if before and before >= text then\n", "  if false then\n"}),
	unit("the fence forgets a clock that stepped back, where nobody waits", "Promise10",
		edit{uncontended, "before and before < text and", "before and"}),
	script("the fence is not put back as it was", "Promise10|AcquireScript",
		edit{uncontended, "redis.call('SET', fence, before, 'KEEPTTL')", "local _ = before"}),

	// Promise 8, first come, first served: nobody is forgotten, and nobody blocks.
	fleet("a lost wake-up: nobody is told",
		edit{promote, "          say(id, 'grant ' .. whole(until_[owner]) .. ' ' .. whole(fresh))", "          local _ = fresh"}),
	fleet("a lost wake-up: a release does not promote",
		edit{release, "local nextWaiter = flags % 4 >= 2 and", "local nextWaiter = false and"}),
	fleet("a lost wake-up: a state that does not have it promote",
		edit{batchGo, "			c.Promote = !c.Look\n", "			c.Look = false\n"}),
	fleet("a lost wake-up: nobody is told where one permit goes to the next",
		edit{nextWaiter, "redis.pcall('PUBLISH', 'passbuddy:inbox:' .. owner, push)", "0"}),
	script("a lost wake-up: a release serves one where there is room for two", "ReleaseScript",
		edit{nextWaiter, "held == capacity - 1 then", "held < capacity then"}),
	script("the next gets a permit that is not there", "ReleaseScript",
		edit{nextWaiter, "held == capacity - 1 then", "true then"}),
	script("the next gets a permit that an operator withholds", "ReleaseScript",
		edit{nextWaiter, "if others == 0 and held", "if held"}),
	script("the next is dead and gets a permit", "ReleaseScript",
		edit{nextWaiter, "if until_ * 1000 > now and", "if"}),
	script("the next asks for two permits and gets one", "ReleaseScript",
		edit{nextWaiter, "redis.call('ZSCORE', alive, owner)", "redis.call('ZSCORE', alive, (string.gsub(owner, '#.*', '')))"}),
	script("the fence forgets a clock that stepped back, where one permit goes to the next", "ReleaseScript",
		edit{nextWaiter, "if before and before < text and", "if before and"}),
	script("the fence is not put back as it was, where one permit goes to the next", "ReleaseScript",
		edit{nextWaiter, "redis.call('SET', fence, before, 'KEEPTTL')", "local _ = before"}),
	script("the holders' key has no lifetime, where one permit goes to the next", "ReleaseScript",
		edit{nextWaiter, "if held == 0 or aged then", "if aged then"}),
	script("the fence has no lifetime, where one permit goes to the next", "ReleaseScript",
		edit{nextWaiter, "      if aged then", "      if false then"}),
	script("a promotion that uses the promoter's TTL, where one permit goes to the next", "ReleaseScript",
		edit{nextWaiter, "local expiry = whole(until_)", "local expiry = whole(later + ttl)"}),
	state("a plain release that finds nothing, and does not look for the other name", "Stories",
		edit{batchGo, "if c.Plain() && c.Removed < len(c.Grants) {", "if false {"}),
	fleet("a lost wake-up: a state that polls no more",
		edit{batchGo, "	s.pollAt = earlier(s.pollAt, earlier(now.Add(s.interval()), s.Seen.free))\n", ""}),
	state("a lost wake-up: a join forgets the next poll", "Stories",
		edit{batchGo, "	s.joinAt = Instant{}\n	ahead, pastCapacity :=", "	s.joinAt, s.pollAt = Instant{}, Instant{}\n	ahead, pastCapacity :="}),
	script("a dead head blocks", "Promote",
		edit{promote, "      if until_[owner] * 1000 <= now then\n        gone[#gone + 1] = id\n", "      if until_[owner] * 1000 <= now then\n        blocked = true\n        break\n"}),
	fleet("a dead head blocks, in a fleet",
		edit{promote, "      if until_[owner] * 1000 <= now then\n        gone[#gone + 1] = id\n", "      if until_[owner] * 1000 <= now then\n        blocked = true\n        break\n"}),
	script("an impossible head blocks", "Promote",
		edit{promote, "elseif (overridden or owner == me) and weight > limit or weight > maxWeight then", "elseif false then"}),
	fleet("an impossible head blocks, in a fleet",
		edit{promote, "elseif (overridden or owner == me) and weight > limit or weight > maxWeight then", "elseif false then"}),
	script("a place lost on poll", "Promise8",
		edit{acquire, "redis.call('ZADD', queue, 'LT', unpack(arrivals))", "redis.call('ZADD', queue, unpack(arrivals))"},
		edit{acquire, "math.max(now - ARGV[i + 1], place + 1)", "math.max(now, place + 1)"}),
	fleet("a place lost on poll, in a fleet",
		edit{acquire, "redis.call('ZADD', queue, 'LT', unpack(arrivals))", "redis.call('ZADD', queue, unpack(arrivals))"},
		edit{acquire, "math.max(now - ARGV[i + 1], place + 1)", "math.max(now, place + 1)"}),
	script("a place lost in an outage", "Promise8",
		edit{acquire, "math.max(now - ARGV[i + 1], place + 1)", "math.max(now, place + 1)"}),
	state("a quick call overtakes the slow one before it", "State",
		edit{batchGo, "		c.Behind = behind\n", ""}),
	script("a quick call overtakes the slow one before it, in the script", "AcquireScript|Place",
		edit{acquire, "place = math.max(place, ARGV[5] + 0)", "place = place"}),
	state("a quick call overtakes the slow one that was not answered", "State",
		edit{batchGo, "			age = min(age, maxAge)\n", ""}),
	script("who waits when the clock is set back keeps a place in the future", "AcquireScript|Promise8",
		edit{acquire, "redis.call('ZADD', queue, 'LT', unpack(arrivals))", "redis.call('ZADD', queue, 'NX', unpack(arrivals))"}),
	state("a burst loses a round trip for each caller", "State",
		edit{"internal/protocol/waiter.go", "	w.place = max(w.place, place)", "	w.place = max(w.place, place) + 50000"}),
	state("a long Handover keeps callers out of the queue", "Stories",
		edit{stateGo, "at = earlier(s.handoverUntil, s.Seen.asOf.Add(s.Config.RetryInterval))", "at = s.handoverUntil"}),
	fleet("a newcomer overtakes the queue",
		edit{acquire, "elseif waiting == 0 and revoked == 0 then", "elseif revoked == 0 then"}),
	script("one that does not wait overtakes the queue", "Heavy",
		edit{acquire, "own[id][1] == 0 and waiting == 0 and held", "own[id][1] == 0 and held"}),
	state("an unbounded hand-over", "Stories",
		edit{stateGo, "now.Reached(g.at.Add(s.Config.Handover))", "false"}),
	fleet("an unbounded hand-over, in a fleet",
		edit{stateGo, "now.Reached(g.at.Add(s.Config.Handover))", "false"}),

	// Promise 9, no herd.
	fleet("wake-all: everybody in the queue is told",
		edit{promote, "      break\n    end\n  end\n  return status\n", "      break\n    end\n  end\n  for _, id in ipairs(redis.call('ZRANGE', queue, 0, -1)) do\n    say(id, 'grant 0 0')\n  end\n  return status\n"}),
	fleet("wake-all: everybody polls when one of them is told",
		edit{publishLua, "    local reply = redis.pcall('PUBLISH', 'passbuddy:inbox:' .. said[i], said[i + 1])",
			"    local reply\n    for _, o in ipairs(redis.call('ZRANGE', alive, 0, -1)) do\n      reply = redis.pcall('PUBLISH', 'passbuddy:inbox:' .. o, said[i + 1])\n    end"}),
	script("a notification for those whom the call speaks for", "Promise9",
		edit{promote, "        if own and own[id] then\n          own[id] = {until_[owner], fresh}\n        else\n", "        if own and own[id] then\n          own[id] = {until_[owner], fresh}\n        end\n        do\n"}),

	// Pushes that are late, come twice, or overtake.
	state("a notification trusted from its receipt", "Stories",
		edit{notifyGo, "end := WindowEnd(s.sample.sent, n.Expiry, s.sample.micros, s.Config.Margin)", "end := WindowEnd(now, n.Expiry, n.Server, s.Config.Margin)"}),
	fleet("a notification trusted from its receipt, in a fleet",
		edit{notifyGo, "end := WindowEnd(s.sample.sent, n.Expiry, s.sample.micros, s.Config.Margin)", "end := WindowEnd(now, n.Expiry, n.Server, s.Config.Margin)"}),
	state("a late notification releases a held grant", "Stories",
		edit{notifyGo, "		// held already\n", "		s.drop(g)\n		s.giveBack(now, g)\n"}),
	fleet("a late notification releases a held grant, in a fleet",
		edit{notifyGo, "		// held already\n", "		s.drop(g)\n		s.giveBack(now, g)\n"}),
	state("a late notification that comes twice makes a lease", "Stories",
		edit{notifyGo, "queued: true, released: true}", "queued: true}"}),
	rare("a late notification that comes twice makes a lease, in a fleet",
		edit{notifyGo, "queued: true, released: true}", "queued: true}"}),
	state("a late notification gives back what a lease of this state held", "Stories",
		edit{notifyGo, "n.Token <= s.lapsed || !s.ours(n)", "!s.ours(n)"}),
	state("a late notification gives back what a lease of the state before held", "Stories",
		edit{notifyGo, "n.Token <= s.lapsed || !s.ours(n)", "n.Token <= s.lapsed"}),
	state("a notification that overtakes its reply is ignored", "Stories",
		edit{notifyGo, "	case g.State != asked && g.State != releasing:\n", "	case g.State != asked && g.State != releasing || g.unanswered > 0:\n"}),
	state("a reply that says waiting takes a pushed grant away", "Stories",
		edit{batchGo, "		case g.State == asked && expiry > 0:\n", "		case g.State == Held && expiry == 0:\n			s.drop(g)\n			s.giveBack(now, g)\n		case g.State == asked && expiry > 0:\n"}),
	state("a hand-over that overtakes a poll: its request is forgotten", "Stories",
		edit{stateGo, "		s.withdraw(now, w)\n		s.postpone(own)\n", "		s.detach(own)\n		own.State = gone\n"}),
	fleet("a hand-over that overtakes a poll: its request is forgotten, in a fleet",
		edit{stateGo, "		s.withdraw(now, w)\n		s.postpone(own)\n", "		s.detach(own)\n		own.State = gone\n"}),
	script("a promotion that uses the promoter's TTL", "PromotionGrants",
		edit{promote, "        local fresh = grant(id, weight, until_[owner])", "        until_[owner] = later + ttl\n        local fresh = grant(id, weight, until_[owner])"}),
	fleet("a promotion that uses the promoter's TTL, in a fleet",
		edit{promote, "        local fresh = grant(id, weight, until_[owner])", "        until_[owner] = later + ttl\n        local fresh = grant(id, weight, until_[owner])"}),

	// Weights.
	script("part of a grant counts as all of it", "Part",
		edit{acquire, "    if live == weight then", "    if live > 0 then"}),
	script("a grant is renewed though a part is missing", "Part",
		edit{renew, "missing = missing or not scores[n]", "missing = missing and not scores[n]"}),

	// Promise 11, and revocation.
	script("a pause is ignored", "Promise11",
		edit{promote, "if n and n >= 0 then", "if n and n > 0 then"}),
	fleet("an override does not win", edit{promote, "if n and n >= 0 then", "if n and n > capacity then"}),
	script("a revoke frees at once", "Revoke",
		edit{revoke, "redis.call('ZADD', holders, unpack(args)) -- before", "-- before"}),
	fleet("a revoke frees at once, in a fleet",
		edit{revoke, "redis.call('ZADD', holders, unpack(args)) -- before", "-- before"}),
	unit("one permit of a heavy grant is revoked alone", "PeopleSee",
		edit{"lease/operate.go", "	id, _, _ = strings.Cut(id, \",\") ", "	"}),
	script("a revoked id is granted again", "Revoked",
		edit{acquire, "      revoked = 1\n", "      revoked = 0\n"}),
	script("revoked permits stay when their holder gives them back", "Revoke",
		edit{release, "members[i] = 'revoked,' .. members[i]", "members[i] = members[i]"}),

	// Promise 7, lifetimes.
	fleet("the queue's lifetime shortened under a neighbour",
		edit{acquire, "if redis.call('PTTL', key) < 2 * ttl then", "if true then"}),
	script("the queue's lifetime shortened under a neighbour, seen by the script's test", "Neighbour",
		edit{acquire, "if redis.call('PTTL', key) < 2 * ttl then", "if true then"}),
	script("the queue has no lifetime", "Neighbour|Script",
		edit{acquire, "if isNew and waiting > 0 then", "if false then"}),
	state("a state sees to the queue's lifetime before it waits there", "Stories",
		edit{batchGo, "			g.waits = true\n			if c.Refresh {\n", "			g.waits = true\n			if false {\n"},
		edit{batchGo, "	if !late {\n		s.learn(now, c)\n", "	if !late {\n		s.learn(now, c)\n		s.refreshAt = batch.Sent.Add(s.Config.TTL / 2)\n"}),
	script("the earliest expiry is that of the call's own grants", "Script|Promise",
		edit{acquire, "if given ~= held then", "if false then"}),
	script("the holders' lifetime shortened under a neighbour", "Neighbour",
		edit{renew, "redis.call('PEXPIRE', holders, keep)", "redis.call('PEXPIRE', holders, whole(2 * ttl))"}),
	fleet("a process that polled is alive for less long",
		edit{acquire, "redis.call('ZADD', alive, whole(expiry),", "redis.call('ZADD', alive, 'NX', whole(expiry),"}),
}
