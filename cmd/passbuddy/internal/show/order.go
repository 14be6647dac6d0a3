package show

import (
	"cmp"
	"slices"

	"github.com/eqworks/passbuddy/internal/view"
)

// Orders are the names of the orders that a list may have.
var Orders = []string{"name", "held", "wait", "expiry"}

// Sort sorts a list in one of the Orders: by name, or the largest count of permits, the longest wait or the next expiry
// first. It reports whether there is such an order.
func Sort(all []view.Semaphore, order string) bool {
	compare, known := orders[order]
	if known {
		slices.SortFunc(all, func(a, b view.Semaphore) int { return cmp.Or(compare(a, b), cmp.Compare(a.Name, b.Name)) })
	}
	return known
}

var orders = map[string]func(a, b view.Semaphore) int{
	"name": func(a, b view.Semaphore) int { return 0 },
	"held": func(a, b view.Semaphore) int { return b.Held - a.Held },
	"wait": func(a, b view.Semaphore) int { return cmp.Compare(orZero(b.Oldest), orZero(a.Oldest)) },
	"expiry": func(a, b view.Semaphore) int {
		switch {
		case a.Expires == nil && b.Expires == nil:
			return 0
		case a.Expires == nil:
			return 1
		case b.Expires == nil:
			return -1
		}
		return a.Expires.Compare(*b.Expires)
	},
}

func orZero(f *float64) float64 {
	if f == nil {
		return 0
	}
	return *f
}
