package guard

import (
	"net/url"
	"strings"
)

// The environment of a command says which leases it runs under: name=id, one after the other, the outermost first.
const heldVariable = "PASSBUDDY_HELD"

// mark is what stands for one lease in it.
func mark(name, id string) string { return url.QueryEscape(name) + "=" + url.QueryEscape(id) }

// isMarked reports whether a value of the variable has the mark.
func isMarked(held, mark string) bool {
	for one := range strings.SplitSeq(held, ",") {
		if one == mark {
			return true
		}
	}
	return false
}

// Holds reports whether a value of the variable says that a lease of the semaphore is held.
func Holds(held, name string) bool {
	for one := range strings.SplitSeq(held, ",") {
		if of, _, found := strings.Cut(one, "="); found && of == url.QueryEscape(name) {
			return true
		}
	}
	return false
}
