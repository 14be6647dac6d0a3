package redistest

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	RunMoreInParallel()
	os.Exit(m.Run())
}
