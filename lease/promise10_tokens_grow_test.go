package lease_test

import (
	"testing"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

func TestPromise10TokensGrow(t *testing.T) {
	inBubble(t, func(w *world) {
		var last int64
		take := func(m *lease.Manager) {
			w.Helper()
			l := w.acquire(w.semaphore(m, 1))
			if l.Token() <= last {
				w.Errorf("token %d after %d", l.Token(), last)
			}
			last = l.Token()
			if err := l.Release(); err != nil {
				w.Error(err)
			}
		}
		a, _ := w.process("a")
		b, _ := w.process("b")
		for range 5 { // all at one instant of the server's clock
			take(a)
			take(b)
		}
		w.net.Restart(true)
		take(a)
		w.net.Restart(false)         // the data is gone, the clock goes on
		time.Sleep(time.Millisecond) // the tokens above ran ahead of a clock that stood still
		take(b)
		w.net.SetClockOffset(-time.Hour) // as far as the fence key remembers
		take(a)
		take(b)
	})
}
