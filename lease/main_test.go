package lease_test

import (
	"os"
	"testing"

	"github.com/redis/go-redis/v9/logging"

	"github.com/eqworks/passbuddy/internal/redistest"
)

func TestMain(m *testing.M) {
	logging.Disable() // go-redis reports each refused connection
	if isMember() {
		beMember()
	}
	redistest.RunMoreInParallel()
	os.Exit(m.Run())
}
