package main

import (
	"strings"
	"testing"

	"github.com/eqworks/passbuddy/bench/internal/workload"
)

func TestOnlyNamesWorkloadsCasesAndContenders(t *testing.T) {
	b := &workload.Bench{}
	for only, want := range map[string]struct{ cases, measurements int }{
		"a":                     {5, 4*12 + 6},
		"a/256":                 {1, 12},
		"b/1,passbuddy":         {6, 6},
		"b/1/0ms/1,a/1,blpop":   {2, 2},
		"e,rueidislock-1":       {1, 1},
		"c, passbuddy, blpop":   {2, 4},
		"b/10/1ms/16,redislock": {1, 0},
	} {
		chosen, err := choose(b, only)
		if err != nil {
			t.Errorf("%s: %v", only, err)
			continue
		}
		cases := 0
		for _, w := range chosen {
			cases += len(w.Cases)
		}
		if n := count(chosen, 1); cases != want.cases || n != want.measurements {
			t.Errorf("%s: %d cases, %d measurements; want %+v", only, cases, n, want)
		}
	}
}

func TestOnlyRefusesWhatItDoesNotKnow(t *testing.T) {
	if _, err := choose(&workload.Bench{}, "a,redlock"); err == nil || !strings.Contains(err.Error(), `"redlock"`) {
		t.Errorf("%v", err)
	}
}
