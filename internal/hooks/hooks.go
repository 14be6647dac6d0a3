// Package hooks is for what package lease offers to the packages of this module, and to nobody else.
package hooks

// Lose ends a *lease.Lease as a trust window's end does: for package leasetest. Package lease sets it.
var Lose func(lease any)

// IgnoredMessages returns how many messages in the channel of a *lease.Manager made no sense: for the simulation. Package
// lease sets it.
var IgnoredMessages func(manager any) int64
