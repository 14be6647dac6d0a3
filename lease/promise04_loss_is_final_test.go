package lease_test

import (
	"errors"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

func TestPromise4LossIsFinal(t *testing.T) {
	t.Run("a renewal recreates nothing", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, _ := w.process("p")
			l := w.acquire(w.semaphore(m, 1))
			w.net.Server().Del("passbuddy-gpu")
			<-l.Context().Done()
			var lost *lease.LostError
			if !errors.As(l.Err(), &lost) || lost.Reason != lease.LossRemoved {
				w.Errorf("Err = %v", l.Err())
			}
			time.Sleep(worldTTL)
			if n := len(w.members()); n != 0 {
				w.Errorf("%d members came back", n)
			}
		})
	})
	t.Run("a late reply revives nothing", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, _ := w.process("p")
			l := w.acquire(w.semaphore(m, 1))
			time.Sleep(time.Second)
			w.net.SetFaults(sim.Faults{Latency: worldTTL}) // the renewal succeeds, and nobody hears of it in time
			<-l.Context().Done()
			end := l.TrustedUntil()
			time.Sleep(2 * worldTTL)
			if l.Valid() || l.TrustedUntil() != end || !errors.Is(l.Err(), lease.ErrLost) {
				w.Error("the lease came back")
			}
			w.net.SetFaults(sim.Faults{})
		})
	})
	t.Run("a permit that was given away is not taken back", func(t *testing.T) {
		inBubble(t, func(w *world) {
			m, host := w.process("p")
			other, _ := w.process("q")
			l := w.acquire(w.semaphore(m, 1))
			host.Partition()
			l2 := w.acquire(w.semaphore(other, 1))
			if l.Valid() {
				w.Error("two hold the permit")
			}
			host.Heal()
			time.Sleep(3 * worldTTL)
			w.mustHold(l2)
			if err := l.Release(); !errors.Is(err, lease.ErrLost) {
				w.Errorf("Release returned %v", err)
			}
			time.Sleep(worldTTL)
			w.mustHold(l2)
		})
	})
}
