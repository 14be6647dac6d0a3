package redistest

import (
	"context"
	"testing"
)

// Eventually calls check until it returns nil, every 20 ms, and fails t after
// 30 s with what check said last. It is for states of other processes that
// nothing tells of. what completes "waiting until".
func Eventually(t testing.TB, what string, check func(context.Context) error) {
	t.Helper()
	eventually(t, what, check)
}
