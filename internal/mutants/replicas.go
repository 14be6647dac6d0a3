package main

const replicasGo = "internal/protocol/replicas.go"

// Replicas that acknowledge.
var replicaMutants = []mutant{
	state("an unacknowledged renewal moves the window", "Stories",
		edit{renewals, "		case missing != nil:\n", "		case false:\n"}),
	rare("an unacknowledged renewal moves the window, in a fleet",
		edit{renewals, "		case missing != nil:\n", "		case false:\n"}),
	state("an unacknowledged grant is kept", "Stories",
		edit{"internal/protocol/asking.go", "case g.State == asked && expiry > 0 && missing != nil:", "case g.State == asked && late && missing != nil:"}),
	fleet("an unacknowledged grant is kept, in a fleet",
		edit{"internal/protocol/asking.go", "case g.State == asked && expiry > 0 && missing != nil:", "case g.State == asked && late && missing != nil:"}),
	state("a promotion is trusted before its own process has asked the replicas", "Stories",
		edit{"internal/protocol/notification.go", "case s.replicas > 0 || !s.canMeasure", "case !s.canMeasure"}),
	fleet("a promotion is trusted before its own process has asked the replicas, in a fleet",
		edit{"internal/protocol/notification.go", "case s.replicas > 0 || !s.canMeasure", "case !s.canMeasure"}),
	unit("fewer replicas than are wanted do", "TooFewReplicas",
		edit{replicasGo, "	if b.Acknowledged >= b.Replicas {\n", "	if b.Acknowledged > 0 || b.Replicas == 0 {\n"}),
}
