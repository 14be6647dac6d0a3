package lease

import "github.com/eqworks/passbuddy/internal/protocol"

// An appointment is when a driver is called next.
type appointment struct {
	at protocol.Instant
	d  *driver
}

// A place is a driver's among the appointments, from 1; 0: it has none.
type place int

// Appointments are in the order of a heap with four children for each (Johnson, 1975): the first is the earliest. Where
// thousands of leases are renewed each second, to keep them in order costs as much as to send them, and most of that is to
// wait for the memory of drivers: so the times are in the list itself, and an appointment that moves writes no place but those of
// the ones that make way. container/heap writes both of each exchange, on twice as many levels.
type appointments struct {
	list []appointment
	of   func(*driver) *place // where a driver keeps its place
}

func (a *appointments) put(i int, x appointment) {
	a.list[i] = x
	*a.of(x.d) = place(i + 1)
}

func (a *appointments) push(x appointment) {
	a.list = append(a.list, x)
	a.settle(len(a.list)-1, x)
}

// move gives the appointment at p another time.
func (a *appointments) move(p place, at protocol.Instant) {
	x := a.list[p-1]
	x.at = at
	a.settle(int(p)-1, x)
}

// remove takes the appointment at p out, and returns whose it was.
func (a *appointments) remove(p place) *driver {
	d, last := a.list[p-1].d, len(a.list)-1
	x := a.list[last]
	a.list[last] = appointment{}
	if a.list = a.list[:last]; int(p) <= last {
		a.settle(int(p)-1, x)
	}
	*a.of(d) = 0
	return d
}

// settle puts x where it belongs, in the place of the i-th or above or below it; what is there does not count any more.
func (a *appointments) settle(i int, x appointment) {
	for i > 0 {
		parent := (i - 1) / 4
		if a.list[parent].at.Mono <= x.at.Mono {
			break
		}
		a.put(i, a.list[parent])
		i = parent
	}
	for {
		first := 4*i + 1
		if first >= len(a.list) {
			break
		}
		earliest := first
		for child := first + 1; child < min(first+4, len(a.list)); child++ {
			if a.list[child].at.Mono < a.list[earliest].at.Mono {
				earliest = child
			}
		}
		if x.at.Mono <= a.list[earliest].at.Mono {
			break
		}
		a.put(i, a.list[earliest])
		i = earliest
	}
	a.put(i, x)
}
