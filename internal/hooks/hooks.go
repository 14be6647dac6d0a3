// Package hooks lets package leasetest do to a lease what package lease offers nobody else.
package hooks

// Lose ends a *lease.Lease as a trust window's end does. Package lease sets it.
var Lose func(lease any)
