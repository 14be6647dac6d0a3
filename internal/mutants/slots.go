package main

const (
	slotsLua = "lease/scripts/include/slots.lua"
	slotsGo  = "internal/protocol/slots.go"
)

// Slots.
var slotMutants = []mutant{
	script("a slot is given twice", "Slot",
		edit{slotsLua, "if score and score * 1000 > now then", "if false then"}),
	fleet("a slot is given twice, in a fleet",
		edit{slotsLua, "if score and score * 1000 > now then", "if false then"}),
	script("a slot is kept after its permit has expired", "ASlotIsFree",
		edit{slotsLua, "if score and score * 1000 > now then", "if score then"}),
	script("the slot of a revoked permit is given away", "ASlotIsFree",
		edit{slotsLua, "scores[i] or scores[i + 1]", "scores[i]"}),
	script("an id that is granted again gets another slot", "KeepsItsSlots",
		edit{slotsLua, "    local slot = slotOf[member]\n", "    local slot = nil\n"}),
	script("a member that expired keeps the slot that it had", "HasOneSlot",
		edit{slotsLua, "        args[#args + 1] = whole(stale)\n        args[#args + 1] = ''\n", ""}),
	unit("a process without slots takes another's", "OfAnotherProcess",
		edit{"internal/protocol/notification.go", "	if !s.slots { // another", "	if false { // another"}),
	script("a promotion tells no slots", "APromotionTells",
		edit{"lease/scripts/include/promote.lua", "slotsOf[id] and '='", "false and '='"}),
	script("the hot path of a promotion gives no slots", "APromotionTells",
		edit{"lease/scripts/include/next_waiter.lua", " and not slots then", " then"}),
	unit("the hot path of an acquire gives no slots", "SlotsAreNobodyElses",
		edit{"internal/transport/call.go", "c.Again || c.Slots || c.Permits", "c.Again || c.Permits"}),
	unit("a permit without slots passes to who wants one", "SlotsOfANewHandle",
		edit{"internal/protocol/grant.go", " && (!w.Slots || len(g.Slots) > 0)", ""}),
	state("a promotion without slots is believed", "Stories",
		edit{slotsGo, "return g.waiter == nil || !g.waiter.Slots || len(g.Slots) > 0", "return true"}),
	unit("slots expire under their holder", "HeldForDays",
		edit{slotsGo, " && server-g.token > slotsAge", " && server < 0"}),
	state("slots that Redis has lost are trusted", "Stories",
		edit{lingerGo, "!slices.Equal(g.Slots, c.slotsOf(i))", "!slices.Equal(g.Slots, g.Slots)"}),
}
