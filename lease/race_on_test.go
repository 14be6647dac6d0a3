//go:build race

package lease_test

// underRace: what is done in a given time says little.
const underRace = true
