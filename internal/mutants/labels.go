package main

// Labels.
var labelMutants = []mutant{
	unit("a label that breaks the owner", "ALabelThatWouldBreak",
		edit{"lease/id.go", `r >= ' ' && r < 0x7f && !strings.ContainsRune("@#,", r)`, `r >= ' ' && r < 0x7f && !strings.ContainsRune("#,", r)`}),
	unit("a label that is too long", "ALabelThatWouldBreak",
		edit{"lease/semaphore.go", " || len(text) > maxLabel {", " {"}),
	unit("a permit passes to a caller of another label", "EqualLabels",
		edit{"internal/protocol/grant.go", "int(g.Weight) == w.Weight && g.Label == w.Label &&", "int(g.Weight) == w.Weight &&"}),
	unit("a notification of an id with a space is cut short", "ALabelIsShown",
		edit{"lease/scripts/notifications.go", "max(0, strings.IndexByte(rest, '@'))", "0"}),
	unit("who waits has no label", "ALabelIsShown",
		edit{"internal/protocol/asking.go", "s.newID(w.Weight, w.Label)", `s.newID(w.Weight, "")`}),
}
