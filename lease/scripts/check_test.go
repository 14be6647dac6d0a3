package scripts

import (
	"regexp"
	"testing"
)

var (
	called  = regexp.MustCompile(`redis\.p?call\('(\w+)'`)
	checked = regexp.MustCompile(`try\('(\w+)'`)
)

// check runs every command that another script runs, but for those that only operators, slots and notifications need.
func TestCheckRunsEveryCommandOfTheOtherScripts(t *testing.T) {
	has := map[string]bool{"HSET": true, "HDEL": true, "HMGET": true, "ZCOUNT": true, "PERSIST": true, "PUBLISH": true}
	for _, m := range checked.FindAllStringSubmatch(Check.Source(), -1) {
		has[m[1]] = true
	}
	for v := range verbs {
		for _, m := range called.FindAllStringSubmatch(v.Source(), -1) {
			if !has[m[1]] {
				t.Errorf("%v runs %s, and check does not", v, m[1])
			}
		}
	}
}
