// Package hooks is for what package lease offers to the packages of this module, and to nobody else.
package hooks

import "time"

// Lose ends a *lease.Lease as a trust window's end does: for package leasetest. Package lease sets it.
var Lose func(lease any)

// IgnoredMessages returns how many messages in the channel of a *lease.Manager made no sense: for the simulation. Package
// lease sets it.
var IgnoredMessages func(manager any) int64

// Settled reports whether a *lease.Manager has done all that is due by its clock, and when the next thing is; zero: never.
// Where Redis does not answer it, what is under way is left aside. It is for package leasetest. Package lease sets it.
var Settled func(manager any, answered bool) (next time.Time, settled bool)
