package lease_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

func TestAMaxHoldThatEndsAtOnceLeavesNoPermit(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: time.Millisecond})
		m, _ := w.process("p")
		l, err := w.semaphore(m, 1).Acquire(context.Background(), lease.MaxHold(1))
		if err == nil {
			<-l.Held().Done()
			_ = l.Release()
		} else if !errors.Is(err, lease.ErrMaxHold) {
			w.Error(err)
		}
		time.Sleep(time.Second)
		if n := len(w.members()); n != 0 {
			w.Errorf("%d permits are left", n)
		}
	})
}

func TestDoReturnsNilAfterAnEarlyRelease(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p")
		err := w.semaphore(m, 1).Do(context.Background(), func(ctx context.Context) error {
			return lease.FromContext(ctx).Release()
		})
		if err != nil {
			w.Error(err)
		}
	})
}

func TestDoReportsALossBesideTheErrorOfTheWork(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 1)
		mine := errors.New("mine")
		lose := func(err error) error {
			return s.Do(context.Background(), func(ctx context.Context) error {
				w.net.Server().FlushAll()
				<-ctx.Done()
				return err
			})
		}
		if err := lose(nil); !errors.Is(err, lease.ErrLost) {
			w.Errorf("fn returned nil without protection: %v", err)
		}
		if err := lose(mine); !errors.Is(err, lease.ErrLost) || !errors.Is(err, mine) {
			w.Errorf("%v does not match both", err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = s.Do(context.Background(), func(context.Context) error { panic("oh") })
		}()
		synctest.Wait()
		if n := len(w.members()); n != 0 {
			w.Errorf("a panic left %d permits", n)
		}
	})
}
