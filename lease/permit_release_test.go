package lease_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

func TestReleaseWaitsForTheLastUserAndAdmitsNoNewOne(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		p := w.semaphore(m, 1).Permit()
		first, doneFirst := w.use(p, context.Background())
		second, doneSecond := w.use(p, context.Background())
		for range 2 {
			if err := p.Release(); err != nil {
				w.Error(err)
			}
		}
		if first.Err() != nil || second.Err() != nil || !p.IsHeld() {
			w.Error("Release ended its users")
		}
		got := make(chan context.Context)
		finish := make(chan bool)
		go func() {
			ctx, done := w.use(p, context.Background())
			got <- ctx
			<-finish
			done()
			close(got)
		}()
		acquired := make(chan error, 1)
		go func() { acquired <- p.Acquire(context.Background()) }()
		mayNot, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, _, err := p.Use(mayNot); !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("a new user got %v", err)
		}
		// A use below a present user's context gets in: the Release waits for that user in any case.
		inner, doneInner := w.use(p, first)
		if lease.FromContext(inner) != lease.FromContext(first) || inner.Err() != nil {
			w.Error("the inner use has another lease")
		}
		doneInner()
		doneFirst()
		doneFirst() // counts once
		time.Sleep(worldTTL)
		select {
		case <-got:
			w.Error("a new user got in while the permit was being released")
		case err := <-acquired:
			w.Errorf("Acquire returned %v while the permit was being released", err)
		default:
		}
		if second.Err() != nil {
			w.Error(context.Cause(second))
		}
		old := lease.FromContext(second)
		doneSecond()
		ctx := <-got
		if l := lease.FromContext(ctx); l == old || !l.Valid() {
			w.Error("the new user has the old lease")
		}
		if err := <-acquired; err != nil {
			w.Error(err)
		}
		close(finish)
		<-got
		if err := p.Release(); err != nil {
			w.Error(err)
		}
		if n := len(w.members()); n != 0 {
			w.Errorf("%d permits are left", n)
		}
	})
}

// The lease is lost while a Release waits for its users: its callers need wait no longer.
func TestALossEndsTheWaitForARelease(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		p := w.semaphore(m, 2).Permit()
		stuck, done := w.use(p, context.Background())
		defer done()
		_ = p.Release()
		got := make(chan context.CancelFunc)
		go func() { _, done := w.use(p, context.Background()); got <- done }()
		synctest.Wait()
		leasetest.Lose(lease.FromContext(stuck))
		(<-got)()
		_ = p.Release()
	})
}

func TestReleaseOfWhatIsNotHeld(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		other, _ := w.process("q")
		p := w.semaphore(m, 1).Permit()
		if err := p.Release(); err != nil {
			w.Error(err)
		}
		taken := w.acquire(w.semaphore(other, 1))
		acquired := make(chan error)
		go func() { acquired <- p.Acquire(context.Background()) }()
		synctest.Wait()
		if err := p.Release(); err != nil {
			w.Error(err)
		}
		_ = taken.Release()
		if err := <-acquired; err != nil || !p.IsHeld() {
			w.Errorf("an acquire under way: %v, held %v; want it to go on", err, p.IsHeld())
		}
		w.net.Server().FlushAll()
		time.Sleep(worldTTL / 2)
		if err := p.Release(); !errors.Is(err, lease.ErrLost) {
			w.Errorf("Release of a lost permit returned %v", err)
		}
		if err := p.Release(); err != nil {
			w.Errorf("the second Release returned %v", err)
		}
	})
}

func TestReleaseAsyncOfAPermitLeavesItToTheLastUser(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		p := w.semaphore(m, 1).Permit()
		p.ReleaseAsync() // not held: nothing happens
		ctx, done := w.use(p, context.Background())
		p.ReleaseAsync()
		synctest.Wait()
		if ctx.Err() != nil || len(w.members()) != 1 {
			w.Errorf("%v, %d permits while there is a user", ctx.Err(), len(w.members()))
		}
		done()
		synctest.Wait()
		if n := len(w.members()); n != 0 {
			w.Errorf("%d permits did not go back", n)
		}
	})
}

func TestAfterCloseAPermitIsClosed(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		p := w.semaphore(m, 1).Permit()
		ctx, done := w.use(p, context.Background())
		if err := m.Close(); err != nil {
			w.Fatal(err)
		}
		if ctx.Err() == nil || !errors.Is(context.Cause(ctx), lease.ErrClosed) || p.IsHeld() {
			w.Errorf("cause %v, held %v", context.Cause(ctx), p.IsHeld())
		}
		if err := p.Acquire(context.Background()); !errors.Is(err, lease.ErrClosed) {
			w.Errorf("Acquire returned %v", err)
		}
		same := context.WithValue(context.Background(), anyKey{}, "v")
		got, no, err := p.Use(same)
		if !errors.Is(err, lease.ErrClosed) || got != same {
			w.Errorf("Use returned %v", err)
		}
		no()
		done()
		if err := p.Release(); err != nil {
			w.Errorf("Release returned %v", err)
		}
	})
}
