package lease_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

func TestABoundFunctionUsesThePermit(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		p := w.semaphore(m, 1).Permit()
		mine := errors.New("mine")
		var ran *lease.Lease
		length := lease.Bind(p, func(ctx context.Context, s string) (int, error) {
			ran = lease.FromContext(ctx)
			if ctx.Err() != nil || !p.IsHeld() || ctx.Value(anyKey{}) != "v" {
				w.Error("not under the permit")
			}
			switch s {
			case "lose":
				leasetest.Lose(ran)
			case "lose and fail":
				leasetest.Lose(ran)
				return 0, mine
			case "fail":
				return 1, mine
			}
			return len(s), nil
		})
		ctx := context.WithValue(context.Background(), anyKey{}, "v")
		for range 2 {
			if n, err := length(ctx, "four"); n != 4 || err != nil {
				w.Errorf("%d, %v", n, err)
			}
		}
		first := ran
		if !p.IsHeld() {
			w.Error("the permit went back without ReleaseOnComplete")
		}
		if n, err := length(ctx, "fail"); n != 1 || err != mine {
			w.Errorf("%d, %v; want what fn returned", n, err)
		}
		if n, err := length(ctx, "lose"); n != 4 || !errors.Is(err, lease.ErrLost) || ran != first {
			w.Errorf("%d, %v; want the loss", n, err)
		}
		if _, err := length(ctx, "lose and fail"); !errors.Is(err, lease.ErrLost) || !errors.Is(err, mine) {
			w.Errorf("%v does not match both", err)
		}
		_ = p.Release()

		both := make(chan bool)
		once := lease.Bind(p, func(ctx context.Context, how string) (int, error) {
			switch how {
			case "wait":
				<-both
			case "panic":
				panic("oh")
			case "exit":
				runtime.Goexit()
			}
			return 0, ctx.Err()
		}, lease.ReleaseOnComplete())
		slow := make(chan error)
		go func() { _, err := once(ctx, "wait"); slow <- err }()
		synctest.Wait()
		if _, err := once(ctx, "quick"); err != nil {
			w.Error(err)
		}
		synctest.Wait()
		if !p.IsHeld() {
			w.Error("the permit went back under a call that still ran")
		}
		close(both)
		if err := <-slow; err != nil {
			w.Error(err)
		}
		for _, how := range []string{"panic", "exit", "quick"} {
			ended := make(chan bool)
			go func() {
				defer close(ended)
				defer func() { _ = recover() }()
				_, _ = once(ctx, how)
			}()
			<-ended
			synctest.Wait()
			if n := len(w.members()); n != 0 || p.IsHeld() {
				w.Errorf("%d permits after %s", n, how)
			}
		}
		if !strings.Contains(w.log.String(), "lost") {
			w.Error("the losses were not logged")
		}
	})
}
