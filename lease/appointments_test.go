package lease

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/protocol"
)

// Appointments that are made, moved and cancelled in any order are kept in the order of their times, and each driver knows its
// place among them.
func TestAppointmentsComeInOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 300 {
		a := appointments{of: func(d *driver) *place { return &d.work }}
		drivers := make([]driver, 1+r.IntN(60))
		want := map[*driver]protocol.Instant{}
		for range 200 {
			d, at := &drivers[r.IntN(len(drivers))], (protocol.Instant{}).Add(time.Duration(r.IntN(50)))
			switch _, has := want[d]; {
			case !has:
				a.push(appointment{at, d})
				want[d] = at
			case r.IntN(4) == 0:
				if got := a.remove(d.work); got != d || d.work != 0 {
					t.Fatalf("removed another one, or it has still a place: %d", d.work)
				}
				delete(want, d)
			default:
				a.move(d.work, at)
				want[d] = at
			}
			if len(a.list) != len(want) {
				t.Fatalf("%d appointments, want %d", len(a.list), len(want))
			}
			for d, at := range want {
				if d.work == 0 || a.list[d.work-1] != (appointment{at, d}) {
					t.Fatalf("a driver does not know its place, %d", d.work)
				}
			}
		}
		var order []int64
		for len(a.list) > 0 {
			order = append(order, int64(a.list[0].at.Mono))
			a.remove(1)
		}
		if !slices.IsSorted(order) {
			t.Fatalf("they came at %v", order)
		}
	}
}
