package main

const (
	replicasGo = "internal/protocol/replicas.go"
	asking     = "internal/protocol/asking.go"
	notifying  = "internal/protocol/notification.go"
)

// Replicas that acknowledge.
var replicaMutants = []mutant{
	state("an unacknowledged renewal moves the window", "Stories",
		edit{renewals, "		case batch.short(g) != nil:\n", "		case false:\n"}),
	state("an unacknowledged grant is kept", "Stories",
		edit{asking, "expiry > 0 && batch.short(g) != nil:", "late:"}),
	fleet("an unacknowledged grant is kept, in a fleet",
		edit{asking, "expiry > 0 && batch.short(g) != nil:", "late:"}),
	state("a promotion is trusted before its own process has asked the replicas", "Stories",
		edit{notifying, "g.waiter != nil && g.waiter.MinReplicas > 0 || ", ""}),
	unit("fewer replicas than are wanted do", "TooFewReplicas",
		edit{replicasGo, "	if b.Acknowledged >= wanted {\n", "	if b.Acknowledged >= min(wanted, 1) {\n"}),
	state("a longer TTL is in force although no replica knows it", "LongerTTL",
		edit{asking, "survivesFailover := batch.Acknowledged >= s.replicas", "survivesFailover := true"}),
	state("a longer TTL that no replica knows is not declared again", "LongerTTL",
		edit{asking, "ttl >= s.declaredTTL() && (survivesFailover || s.wanted == nil) {", "ttl >= s.declaredTTL() {"}),
	unit("an unacknowledged permit passes to who wants replicas", "OfAnOldHandle",
		edit{"internal/protocol/grant.go", " && int(g.acknowledged) >= w.MinReplicas", ""}),
	unit("an older handle has no replicas asked", "OfAnOldHandle",
		edit{"lease/manager.go", "			d.state.Require(&s.state)\n", ""}),
}
