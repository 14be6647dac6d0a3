package lease_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

func TestALostPermitIsTakenAnew(t *testing.T) {
	for _, tc := range []struct {
		name string
		lose func(*world, *lease.Lease)
	}{
		{"expired", func(_ *world, l *lease.Lease) { leasetest.Lose(l) }},
		{"removed, as the extending renewal finds out", func(w *world, _ *lease.Lease) { w.net.Server().FlushAll() }},
		{"released by a user", func(_ *world, l *lease.Lease) { _ = l.Release() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inAnHour(t, func(w *world) {
				m, _ := w.process("p")
				p := w.semaphore(m, 2).Permit()
				old, doneOld := w.use(p, context.Background())
				l := lease.FromContext(old)
				time.Sleep(time.Second)
				tc.lose(w, l)
				if err := p.Acquire(context.Background()); err != nil {
					w.Fatal(err)
				}
				if !p.IsHeld() {
					w.Error("Acquire returned nil, and the permit is not held")
				}
				if old.Err() == nil {
					w.Error("the user of the lost lease was not told")
				}
				ctx, done := w.use(p, context.Background())
				if n := lease.FromContext(ctx); n == l || !n.Valid() || n.Token() <= l.Token() {
					w.Error("no new lease")
				}
				doneOld() // what it gives back is the old permit
				synctest.Wait()
				if ctx.Err() != nil || !p.IsHeld() || len(w.members()) != 1 {
					w.Errorf("the old user took the new lease along: %v, %v", context.Cause(ctx), w.members())
				}
				done()
				_ = p.Release()
			})
		})
	}
}

func TestALostPermitGoesBackWhenItsLastUserIsDone(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		p := w.semaphore(m, 2).Permit()
		ctx, done := w.use(p, context.Background())
		_, doneToo := w.use(p, context.Background())
		leasetest.Lose(lease.FromContext(ctx))
		if p.IsHeld() {
			w.Error("held after a loss")
		}
		fresh, doneFresh := w.use(p, context.Background())
		done()
		synctest.Wait()
		if n := len(w.members()); n != 2 {
			w.Errorf("%d permits: the lost one went back while it had a user", n)
		}
		doneToo()
		doneToo()
		synctest.Wait()
		if n := len(w.members()); n != 1 || fresh.Err() != nil {
			w.Errorf("%d permits, want that of the new user", n)
		}
		doneFresh()
		_ = p.Release()
	})
}
