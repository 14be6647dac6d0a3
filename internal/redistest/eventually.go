package redistest

import (
	"context"
	"testing"
	"time"
)

const (
	pollEvery = 20 * time.Millisecond
	pollLimit = 30 * time.Second
)

// eventually calls check until it returns nil and fails t if that takes more
// than pollLimit. It is for states of other processes that no command waits
// for; everything else has a blocking form. The context ends with the limit.
func eventually(t testing.TB, what string, check func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), pollLimit)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("redistest: waiting until %s: %v (last seen: %v)", what, ctx.Err(), err)
		}
	}
}
