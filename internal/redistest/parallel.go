package redistest

import (
	"flag"
	"testing"
)

// RunMoreInParallel is for TestMain, before Run: twelve parallel tests run at a time, however few processors
// there are, because tests of servers wait more than they work. The flag -parallel has precedence.
func RunMoreInParallel() {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		_ = flag.Set("test.parallel", "12") // fails only where there are no tests to run
	}
}

func skipIfShort(t testing.TB) {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: several servers take seconds to find each other")
	}
}
