package main

import "slices"

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

// fleet are the simulated fleets. The first that breaks a promise ends them, mostly one of the first ten. Some mutants need a
// trouble that few fleets meet, and which ones do varies from run to run.
func fleet(name string, edits ...edit) mutant {
	return mutant{name: name, edits: edits, pkg: "./internal/sim", run: "Fleet", args: []string{"-seeds", "200", "-life", "4m", "-first"}}
}

// mutants are those of the promises. Other files add theirs.
var mutants = slices.Concat(leaseMutants, queueMutants)
