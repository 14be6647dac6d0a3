package lease

import (
	"testing"
	"time"
)

// The answer that the server's clock is known by took a second: the clock may have been read at its end, and then it
// is a second behind what it shows if it was read at its beginning.
func TestDeskReleasesWhenTheServersClockMustHavePassedTheLimitOfTheRequest(t *testing.T) {
	d := newDeskTest(t, 1)
	now := at(2 * time.Second)
	known := reading{sent: at(0), received: at(time.Second), micros: serverAt(at(0))}
	w := d.waiter(now)
	ex := d.depart(now, known)
	d.leave(now.add(1), w, ErrClosed)
	d.tick(ex.giveUp) // no reply
	passes := known.received.add(time.Duration(ex.notAfter-known.micros) * time.Microsecond)
	if next := d.next(); next.mono < passes.mono {
		t.Fatalf("released at %v, while the request may take a permit until %v", next, passes)
	}
	d.mustDepart(ex.lateBy, release)
}
