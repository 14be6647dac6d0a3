package protocol

// A permit with slots has as many of the numbers from 0 to the capacity less one as it weighs. Redis gives them with the
// permit, and keeps which they are for a day after the latest grant.

// slotsAge is after which time a permit with slots is granted anew, in µs: long before Redis forgets them.
const slotsAge = 8 * 3600 * 1_000_000

// takeSlots notes which slots g has. It reports false where g's waiter wants slots and there are none: a process that knows
// of none has promoted it. Its waiter asks again, under the same id, and gets them then.
func (g *Grant) takeSlots(slots []int) bool {
	if len(slots) > 0 && g.token == 0 {
		g.Slots = slots
	}
	return g.waiter == nil || !g.waiter.Slots || len(g.Slots) > 0
}

// keepSlots has g granted anew when its slots are old by the server's clock.
func (s *State) keepSlots(now Instant, g *Grant, server int64) {
	if len(g.Slots) > 0 && server-g.token > slotsAge {
		g.ageing = true
		s.askAgain(now, g)
	}
}
