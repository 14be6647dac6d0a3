package view

import (
	"cmp"
	"path"
	"strings"
)

// A List is many semaphores, as a command or an address gives them.
type List struct {
	Schema     int         `json:"schema"`
	Semaphores []Semaphore `json:"semaphores"`
	Found      int         `json:"found"` // how many there are; Semaphores may have fewer
}

// Orders are what a list can be sorted by, for slices.SortFunc. Those that are equal follow by name.
var Orders = map[string]func(a, b Semaphore) int{
	"name":   byName,
	"held":   func(a, b Semaphore) int { return cmp.Or(b.Held-a.Held, byName(a, b)) },
	"wait":   func(a, b Semaphore) int { return cmp.Or(cmp.Compare(orZero(b.Oldest), orZero(a.Oldest)), byName(a, b)) },
	"expiry": func(a, b Semaphore) int { return cmp.Or(byExpiry(a, b), byName(a, b)) },
}

func byName(a, b Semaphore) int { return cmp.Compare(a.Name, b.Name) }

func byExpiry(a, b Semaphore) int {
	switch {
	case a.Expires == nil && b.Expires == nil:
		return 0
	case a.Expires == nil:
		return 1
	case b.Expires == nil:
		return -1
	}
	return a.Expires.Compare(*b.Expires)
}

func orZero(f *float64) float64 {
	if f == nil {
		return 0
	}
	return *f
}

// Match reports whether a name matches a pattern as path.Match has them, except that * and ? stand for a slash too: a
// name is no path.
func Match(pattern, name string) (bool, error) {
	const instead = "\x00" // no name has one
	return path.Match(strings.ReplaceAll(pattern, "/", instead), strings.ReplaceAll(name, "/", instead))
}
