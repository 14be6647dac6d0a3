package lease_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/eqworks/passbuddy/lease"
)

// An operator's tool knows no Config: it sees the fleet's own figures, and sets the capacity for it.
func TestOperatorsNeedNoConfig(t *testing.T) {
	inAnHour(t, func(w *world) {
		ctx := context.Background()
		m, _ := w.process("p")
		operator, _ := w.process("operator")
		s := w.semaphore(m, 8)
		held := w.acquire(s, lease.Weight(8))
		_ = w.acquire(w.semaphore(m, 1, func(c *lease.Config) { c.Name = "a-*[x]?" })).Release()

		w.net.Look(func(r *miniredis.Miniredis) { _ = r.Set("passbuddy-else", "no semaphore") })
		names, err := operator.Names(ctx)
		if want := []string{"a-*[x]?", "gpu"}; err != nil || !slices.Equal(names, want) {
			w.Errorf("names %q, %v; want %q", names, err, want)
		}
		state, err := operator.Inspect(ctx, "gpu")
		if err != nil || state.Held != 8 || state.Capacity != 8 || state.OtherDeclared != 8 || state.OtherTTL != worldTTL || len(state.Holders) != 1 {
			w.Errorf("%+v, %v", state, err)
		}
		if state, err := operator.Inspect(ctx, "nobody"); err != nil || state.Held != 0 || state.Capacity != 0 {
			w.Errorf("a name that nobody has used: %+v, %v", state, err)
		}

		if err := operator.Pause(ctx, "gpu"); err != nil {
			w.Fatal(err)
		}
		_ = held.Release()
		if _, err := s.TryAcquire(ctx); !errors.Is(err, lease.ErrAtCapacity) {
			w.Errorf("paused: %v", err)
		}
		var queued []*lease.Lease
		waiting := make(chan *lease.Lease, 8)
		for range 8 {
			go func() { waiting <- w.acquire(s) }()
		}
		time.Sleep(time.Second)
		if err := operator.Resize(ctx, "gpu", 2); err != nil {
			w.Fatal(err)
		}
		queued = append(queued, <-waiting, <-waiting)
		if err := operator.ResetCapacity(ctx, "gpu"); err != nil {
			w.Fatal(err)
		}
		for range 6 {
			queued = append(queued, <-waiting)
		}
		if err := operator.Revoke(ctx, "gpu", queued[0].ID()); err != nil {
			w.Fatal(err)
		}
		<-queued[0].Context().Done()
		if !errors.Is(queued[0].Err(), lease.ErrLost) {
			w.Errorf("revoked: %v", queued[0].Err())
		}
		for _, l := range queued {
			_ = l.Release()
		}

		_, err = operator.Inspect(ctx, "")
		mustRefuse(t, err, "name", `""`)
		mustRefuse(t, operator.Resize(ctx, "a}b", 1), "name", "a}b")
		mustRefuse(t, operator.Resize(ctx, "gpu", -1), "capacity", "-1")
	})
}
