package main

const (
	renewManyLua = "lease/scripts/renew_many.lua"
	jointGo      = "internal/transport/joint.go"
)

// joined are the tests of package transport.
func joined(name, run string, edits ...edit) mutant {
	return mutant{name: name, edits: edits, pkg: "./internal/transport", run: run}
}

// Renewals of many semaphores in one call.
var jointMutants = []mutant{
	script("a renewal of many adds what is not held", "RenewMany",
		edit{renewManyLua, "'XX', 'GT', 'CH', score", "'GT', 'CH', score"}),
	script("a renewal of many adds a part that is not held", "RenewMany",
		edit{renewManyLua, "'XX', 'GT', 'CH', unpack(pairsOf)", "'GT', 'CH', unpack(pairsOf)"}),
	script("a renewal of many lowers an expiry", "RenewMany",
		edit{renewManyLua, "'XX', 'GT', 'CH', score", "'XX', 'CH', score"}),
	script("a renewal of many revives what has expired", "RenewMany",
		edit{renewManyLua, "call('ZREMRANGEBYSCORE', KEYS[i], '-inf', past)", "0"}),
	script("a renewal of many goes on where nothing can be removed", "RenewMany",
		edit{renewManyLua, "type(freed) ~= 'number' or not renew", "not renew"}),
	script("a renewal of many that lies ahead is left", "RenewMany",
		edit{renewManyLua, "\n      or type(call('ZSCORE', holders, ARGV[first])) == 'string' -- it lies ahead", ""}),
	script("a cut reply to a renewal of many is taken", "AnsweredWrongly",
		edit{repliesGo, " || int64(len(reply)-2) != reply[1]", ""}),
	script("one semaphore's trouble is that of all that are renewed with it", "RenewMany",
		edit{renewManyLua, "local call = redis.pcall", "local call = redis.call"}),
	fleet("a renewal of many revives what has expired, in a fleet",
		edit{renewManyLua, "call('ZREMRANGEBYSCORE', KEYS[i], '-inf', past)", "0"}),
	script("a renewal of many does not say what it has freed", "RenewMany",
		edit{renewManyLua, "    reply[#reply + 1] = -i\n", ""}),
	script("a renewal of many takes a part for all", "RenewMany",
		edit{renewManyLua, " == #members\n", " ~= 0\n"}),
	script("a renewal of many gives the ids of one semaphore to the next", "RenewMany",
		edit{renewManyLua, "  at = last + 1\n", "  at = at + 2\n"}),
	script("an expiry that a renewal of many has not set", "RenewMany",
		edit{repliesGo, "Expiry: (reply[0]+999)/1000 + ttl}", "Expiry: reply[0]/1000 + ttl + 2}"}),
	joined("what a renewal of many leaves counts as renewed", "Joint",
		edit{jointGo, "		j.requests[n-1].again = true\n", "		_ = n\n"}),
	joined("all wait for what a renewal of many leaves", "Joint",
		edit{pipelineGo, "			if !slices.ContainsFunc(p.requests, func(r request) bool { return r.batch == e.batch }) {\n", "			if len(p.requests) == 0 {\n"}),
	joined("what a renewal of many has freed is forgotten", "Joint",
		edit{call, "	c.More = c.More || status.Has(scripts.More)", "	c.More = status.Has(scripts.More)"}),
	joined("permits are renewed by the TTL of another semaphore", "ShareACall",
		edit{jointGo, "return j.ttl == r.call.TTL })", "return true })"}),
	joined("a renewal that sees to the key's lifetime goes with others", "ShareACall",
		edit{jointGo, " && !c.Lifetime", ""}),
	state("no renewal sees to the key's lifetime after the first", "LifetimeOfTheKey",
		edit{renewals, "		s.keepAt = batch.Sent.Add(keepEvery)\n", "		s.keepAt = batch.Sent.Add(1000 * keepEvery)\n"}),
	state("a renewal that is not answered has seen to the key's lifetime", "LifetimeOfTheKey",
		edit{renewals, "c.TTL, c.Lifetime = s.Config.TTL.Milliseconds(), s.keepAt.IsZero() || now.Reached(s.keepAt)\n",
			"c.TTL, c.Lifetime = s.Config.TTL.Milliseconds(), s.keepAt.IsZero() || now.Reached(s.keepAt)\n\t\tif c.Lifetime {\n\t\t\ts.keepAt = now.Add(keepEvery)\n\t\t}\n"}),
	joined("a call has more names than it may have", "SoManyAtMost",
		edit{jointGo, "len(open[at].requests) == mostJoined || ", ""}),
	joined("a call has more permits than it may have", "SoManyAtMost",
		edit{jointGo, " || open[at].permits+r.call.Permits > mostPermits", ""}),
	joined("a server that takes no renewal of many is asked again and again", "TakesNoJoint",
		edit{pipelineGo, "		p.transport.apart.Store(true)\n", ""}),
	joined("a server that refuses one key is taken for one that takes no renewal of many", "TakesNoJoint",
		edit{jointGo, "		r.refused = r.again && (redis.HasErrorPrefix(err, \"CROSSSLOT\") || redis.HasErrorPrefix(err, \"TRYAGAIN\"))\n", "		r.refused = r.again\n"}),
	joined("a node of a Cluster is asked for many again whenever a slot moves", "TakesNoJoint",
		edit{jointGo, " || redis.HasErrorPrefix(err, \"TRYAGAIN\"))", ")"}),
	joined("what each of many would hear too is asked of each", "TakesNoJoint",
		edit{jointGo, "IsLogin(err) || isPassing(err) && !redis.HasErrorPrefix(err, \"TRYAGAIN\")", "false"}),
	joined("renewals wait until a slot has moved", "TakesNoJoint",
		edit{jointGo, " && !redis.HasErrorPrefix(err, \"TRYAGAIN\")", ""}),
	joined("a renewal that joins late is sent twice", "JoinsInTheSecondPass",
		edit{call, "				r.zrem, r.cmd = nil, nil // of a pass before, when it was in none\n", ""}),
	joined("a renewal of many that is not answered is sent again", "WithoutAnAnswer",
		edit{jointGo, "whole == nil && (err == nil || errors.As(err, &answer))", "whole == nil && (err == nil || errors.As(err, &answer) || true)"}),
	state("what a renewal that failed has freed is forgotten", "FailedHasFreed",
		edit{batchGo, "				s.takeStatus(now, c) // the first of two calls may have freed permits\n", ""}),
}
