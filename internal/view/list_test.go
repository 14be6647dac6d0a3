package view

import "testing"

func TestAPatternKnowsNoFolders(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"*", "tenant/7/api", true}, {"tenant/*", "tenant/7/api", true}, {"tenant?7*", "tenant/7/api", true},
		{"*api", "tenant/7/web", false}, {"[a-c]*", "billing", true}, {"tenant", "tenant/7", false},
	} {
		if got, err := Match(c.pattern, c.name); got != c.want || err != nil {
			t.Errorf("%q, %q: %v, %v", c.pattern, c.name, got, err)
		}
	}
	if _, err := Match("[", "x"); err == nil {
		t.Error("a pattern without an end is no error")
	}
}
