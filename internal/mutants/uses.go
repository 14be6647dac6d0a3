package main

const (
	permit      = "lease/permit.go"
	holdingGo   = "lease/holding.go"
	use         = "lease/context.go"
	extend      = "lease/renewer.go"
	bind        = "lease/permit.go"
	group       = "lease/group.go"
	semaphoreGo = "lease/semaphore.go"
	limitGo     = "lease/leasehttp/limit.go"
	optionsHTTP = "lease/leasehttp/options.go"
	answer      = "lease/leasehttp/answer.go"
)

// Permit, Bind, Group and package leasehttp.
var uses = []mutant{
	unit("a permit that is taken for its first caller only", "ACaller",
		edit{holdingGo, "context.WithCancel(context.Background())", "context.WithCancel(ctx)"}),
	unit("an acquire that nobody wants any more", "AllCallersGiveUp",
		edit{permit, "		p.leaveLocked(t)\n		t.cancel()\n	}\n	if late {", "	}\n	if late {"}),
	unit("a waiting user who does not count yet", "Users|Release|GivenBackByMany",
		edit{permit, "t.lease, t.users = l, t.entering", "t.lease = l"}),
	unit("Release under its users", "Release|Bound",
		edit{permit, "	if t.users > 0 {\n		p.mu.Unlock()\n		return nil\n	}\n", ""}),
	unit("a new user during a Release", "Release",
		edit{permit, "case t.leaving && !p.insideLocked(ctx, t):", "case false:"}),
	unit("a user who waits for a Release that waits for it", "Release",
		edit{permit, "t.users > 0 && ctx.Value(insideKey{p}) == t", "false"}),
	unit("a loss that does not end the wait for a Release", "ALossEnds",
		edit{permit, "			case <-t.lease.Held().Done():\n", ""}),
	unit("a lost permit that is used on", "LostPermit|Close",
		edit{permit, "over = !t.lease.Valid()", "over = false"}),
	unit("a lost permit that never goes back", "LostPermit",
		edit{permit, "t.users == 0 && (t.leaving || p.holding != t) && !t.givingBack", "t.users == 0 && t.leaving && !t.givingBack"}),
	unit("a user who is done twice", "Release",
		edit{permit, "		once.Do(func() {\n			end()\n			p.done(t)\n		})", "		_ = &once\n		end()\n		p.done(t)"}),
	unit("held by a flag, not by the clock", "Pause|LostPermit",
		edit{permit, "return l != nil && l.Valid()", "return l != nil"}),
	unit("a caller that waits for as long as others do", "UseWithin",
		edit{permit, "	case <-timeout:\n		late = true\n", ""}),
	unit("Acquire that does not extend", "Extends",
		edit{permit, "if t.lease.hold.renewNow(ctx) == nil {", "if t != nil {"}),
	unit("an immediate renewal that takes an older renewal for its own", "Extends",
		edit{extend, "end: now.Add(d.state.Window)", "end: now"}),
	unit("an immediate renewal that waits for the next renewal", "Extends",
		edit{extend, "	d.state.RenewNow(now)\n", ""}),
	unit("an immediate renewal of what is lost", "LostPermit",
		edit{extend, "x.done <- false", "x.done <- true"}, edit{extend, "		if renewed {", "		if renewed || true {"}),
	unit("users who are not told", "Users|Pause|LostPermit",
		edit{use, "		u.cancel(reason)\n	}", "		_ = u\n	}"}),
	unit("a goroutine for each user", "UsersAndTheirChildren",
		edit{use, "	u, h := &user{cancel}, l.hold\n", "	u, h := &user{cancel}, l.hold\n	go func() { <-inner.Done() }()\n"}),
	unit("users of nothing but the lease", "UsersContext|Caller",
		edit{use, "context.WithCancelCause(ctx)", "context.WithCancelCause(context.WithoutCancel(ctx))"}),

	unit("a bound function's loss that is not told", "Bound",
		edit{bind, "				err = withLoss(err, lost)\n", "				_ = lost\n"}),
	unit("ReleaseOnComplete that is not", "Bound",
		edit{bind, "			if o.release {", "			if false {"}),
	unit("a bound function's panic that keeps the permit", "Bound",
		edit{bind, "			done()\n			if o.release {", "			if returned {\n				done()\n			}\n			if o.release {"}),

	unit("a group that says context canceled", "Group",
		edit{group, "g.explain(fn(ctx), ctx)", "fn(ctx)"}),
	unit("a group whose lost lease is not told", "Group",
		edit{group, "withLoss(g.explain(fn(ctx), ctx), l.lostMeanwhile())", "g.explain(fn(ctx), ctx)"},
		edit{semaphoreGo, "			err = withLoss(err, lost)\n", ""}),
	unit("a permit that goes back before the group knows of the error", "Group",
		edit{group, "			g.fail(err) // before the permit goes back: the next function must not start with it\n", ""}),
	unit("a group that waits on after its first error", "Group",
		edit{group, "g.semaphore.Acquire(g.ctx, g.opts...)", "g.semaphore.Acquire(context.WithoutCancel(g.ctx), g.opts...)"}),
	unit("a full semaphore that fails the group", "TryGo",
		edit{group, "case !errors.Is(err, ErrAtCapacity):", "default:"}),
	unit("trouble that TryGo takes for a full semaphore", "TryGo",
		edit{group, "		g.fail(err)\n	}\n	return false", "	}\n	return false"}),
	unit("Wait that is back before the permits are", "Group",
		edit{semaphoreGo, "		back := l.Release()", "		var back error\n		l.ReleaseAsync()"}),

	unit("a release that waits for Redis", "ReleaseAsyncReturns",
		edit{leaseGo, "		_ = h.traceRelease(false)\n", "		_ = h.traceRelease(true)\n"}),
	unit("a bound of one caller that is not used", "UseWithin",
		edit{leaseGo, "return p.use(ctx, &maxWait)", "return p.use(ctx, nil)"}),

	handler("a request that waits without a bound", "Request",
		edit{optionsHTTP, "cmp.Or(o.MaxWait, s.Config().MaxWait, defaultMaxWait)", "cmp.Or(o.MaxWait, s.Config().MaxWait, defaultMaxWait*100)"}),
	handler("a request's context that is not the lease's", "Request",
		edit{answer, "r.WithContext(ctx)", "r"}, edit{answer, "r *http.Request, ctx context.Context, next", "r *http.Request, _ context.Context, next"}),
	handler("a response that waits for Redis", "AResponse",
		edit{limitGo, "defer l.ReleaseAsync()", "defer l.Release()"}),
	handler("a handler's panic that keeps the permit", "APanic",
		edit{limitGo, "		defer l.ReleaseAsync()\n		return serve(w, r, l.Context(), next)\n", "		err = serve(w, r, l.Context(), next)\n		l.ReleaseAsync()\n		return err\n"}),
	handler("a shared permit that a panic keeps", "APanic",
		edit{limitGo, "			defer p.ReleaseAsync()\n", "			defer func() {\n				if v := recover(); v != nil {\n					panic(v)\n				}\n				p.ReleaseAsync()\n			}()\n"}),
	handler("a permit that is taken when the handler does not want it", "RequestsShare",
		edit{limitGo, "if !opts.AcquireOnStart {", "if false {"}),
	handler("a permit that is kept at a request's end", "RequestsShare",
		edit{limitGo, "if !opts.KeepOnEnd {", "if false {"}),
	handler("Retry-After rounded down", "AnswersTo",
		edit{answer, "(full.RetryAfter+time.Second-1)/time.Second", "full.RetryAfter/time.Second"}),
	handler("trouble with Redis is logged for each request", "AnswersTo|Trouble",
		edit{answer, "	t.last = now\n", ""}),
	handler("trouble with Redis is logged once and never again", "Trouble",
		edit{answer, "!t.last.IsZero() && now.Sub(t.last) < troublePeriod", "!t.last.IsZero()"}),
	handler("ten permits for 200 clients, and one more", "200Clients",
		edit{uncontended, "held + asked <= capacity then", "held + asked <= capacity + 1 then"},
		edit{acquire, "if held + weight > limit and (purge() == 0 or held + weight > limit) then", "if held + weight > limit + 1 and (purge() == 0 or held + weight > limit + 1) then"},
		edit{promote, "elseif held + weight <= limit then", "elseif held + weight <= limit + 1 then"},
		edit{promote, "while held < limit and waiting > 0 do", "while held < limit + 1 and waiting > 0 do"}),

	unit("Lose that gives the permit to others", "LoseEnds",
		edit{driverGo, "d.state.Lose(now, g, protocol.Expired)", "d.state.Release(now, &h.Holding)"}).of("./lease/leasetest"),

	unit("Node's permits that are dropped before their time", "TTLOfNode|MixedFleet",
		edit{purgeLua, "whole(math.floor(now / 1000))", "whole(math.floor(now / 1000) + 1000)"}),
	unit("permits that Node drops", "NodeExpires|MixedFleet",
		edit{renew, "local expiry = later + ttl", "local expiry = later + 50"}),
}

func init() { mutants = append(mutants, uses...) }

// of is m for the tests of another package.
func (m mutant) of(pkg string) mutant {
	m.pkg = pkg
	return m
}
