package lease_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
)

// The mock clock and the server's clock move together, to the millisecond.
func TestRenewalAndLossByTheMockClock(t *testing.T) {
	inBubble(t, func(w *world) {
		mock := clock.NewMock()
		mock.Set(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC))
		m, _ := w.process("p", func(_ *redis.Options, o *lease.Options) { o.Clock = mock })
		move := func(d time.Duration) {
			for ; d > 0; d -= time.Millisecond {
				w.net.SetClockOffset(time.Until(mock.Now()) + time.Millisecond)
				mock.Add(time.Millisecond)
				synctest.Wait()
			}
		}
		move(time.Millisecond)
		l := w.acquire(w.semaphore(m, 1))
		acquired := mock.Now()
		window := worldTTL - worldTTL/20
		if got := l.TrustedUntil().Sub(acquired); got > window+2*time.Millisecond || got < window-2*time.Millisecond {
			w.Fatalf("trusted for %v, want %v", got, window)
		}
		first := l.TrustedUntil()
		move(window / 3 * 8 / 10)
		if l.TrustedUntil() != first {
			w.Fatal("renewed long before a third of the window")
		}
		move(window / 3 * 3 / 10)
		if !l.TrustedUntil().After(first) {
			w.Fatal("not renewed after a third of the window")
		}
		w.net.Stall()
		end := l.TrustedUntil()
		move(end.Sub(mock.Now()) - time.Millisecond)
		held := l.Held()
		w.mustHold(l)
		move(time.Millisecond)
		<-held.Done()
		if !errors.Is(context.Cause(held), lease.ErrLost) {
			w.Error(context.Cause(held))
		}
		w.net.Resume()
	})
}

func TestAServerInErrorIsNotFloodedWithRenewals(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("p", func(o *redis.Options, _ *lease.Options) { o.MaxRetries = -1 })
		l := w.acquire(w.semaphore(m, 1))
		defer l.Release()
		w.net.SetError("READONLY You can't write against a read only replica.")
		var commands atomic.Int64
		w.net.OnCommand(func(string, time.Time, []string) { commands.Add(1) })
		time.Sleep(worldTTL)
		if n := commands.Load(); n > 200 { // a loop would send thousands
			w.Errorf("%d commands in one TTL", n)
		}
		w.net.SetError("")
	})
}
