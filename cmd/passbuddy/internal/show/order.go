package show

import (
	"slices"

	"github.com/eqworks/passbuddy/internal/view"
)

// Orders are the names of view.Orders, in the order in which the live view goes through them.
var Orders = []string{"name", "held", "wait", "expiry"}

// Sort sorts a list in one of the Orders. It reports whether there is such an order.
func Sort(all []view.Semaphore, order string) bool {
	compare, known := view.Orders[order]
	if known {
		slices.SortFunc(all, compare)
	}
	return known
}
