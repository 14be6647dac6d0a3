package lease

import (
	"fmt"
	"testing"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/internal/transport"
)

// renewedBy has the driver's renewal answered by a server whose clock is ahead of serverAt.
func renewedBy(t *testing.T, d *driver, server *transport.Server, offset time.Duration) {
	t.Helper()
	d.mu.Lock()
	now := d.manager.now()
	d.state.RenewAt, d.state.AtTransport = now, false
	batch := d.state.Depart(now, protocol.Reading{})
	d.mu.Unlock()
	if batch == nil || batch.Calls[0].Verb != protocol.Renew {
		t.Fatalf("sent %v, want a renewal", batch)
	}
	ms := offset.Milliseconds()
	batch.Calls[0].Server, batch.Calls[0].Expiry = serverAt(now)+1000*ms, expiryAt(now)+ms
	d.Arrive(batch, server)
}

// On a Cluster another node can take a semaphore's place; its address is another, and so is its clock.
func TestAnotherNodesClockShortensTheWindowsThatTheOneBeforeMeasured(t *testing.T) {
	for _, sameAddress := range []bool{true, false} {
		t.Run(fmt.Sprintf("the same address: %v", sameAddress), func(t *testing.T) {
			m := quietManager(t)
			d, held := shared(t, m, "gpu")
			before := m.transport.Server("10.0.0.1:6379")
			after := before
			if !sameAddress {
				after = m.transport.Server("10.0.0.2:6379")
			}
			renewedBy(t, d, before, 0)
			end := held.Until.End()

			m.clock.(*clock.Mock).Add(time.Second)
			d.mu.Lock() // the node that takes over answers a request, and renews nothing
			now := m.now()
			w := &protocol.Waiter{Weight: 1, Done: make(chan struct{}), Holding: &protocol.Holding{Holder: held.Holding.Holder}}
			d.state.Ask(now, w)
			d.state.AtTransport = false
			batch := d.state.Depart(now, protocol.Reading{})
			d.mu.Unlock()
			refuse(batch, now)
			batch.Calls[0].Server += step.Microseconds()
			d.Arrive(batch, after)

			if lost := end.Mono - held.Until.End().Mono; lost < step || lost > step+10*time.Millisecond {
				t.Errorf("the window is shorter by %v, want %v", lost, step)
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			if !d.state.RenewalDue(m.now()) {
				t.Error("no renewal is due")
			}
		})
	}
}

// Each of many semaphores finds the step in its own answer; each window is shortened by it once.
func TestAStepShortensTheWindowsOfManySemaphoresOnce(t *testing.T) {
	m := quietManager(t)
	server := m.transport.Server("")
	const n = 50
	var all []*driver
	var grants []*protocol.Grant
	for i := range n {
		d, g := shared(t, m, fmt.Sprint("s", i))
		renewedBy(t, d, server, 0)
		all, grants = append(all, d), append(grants, g)
	}
	end := grants[n-1].Until.End()
	m.clock.(*clock.Mock).Add(time.Second)
	for _, d := range all[:n-1] {
		renewedBy(t, d, server, step)
	}
	if lost := end.Mono - grants[n-1].Until.End().Mono; lost < step || lost > step+100*time.Millisecond {
		t.Errorf("the last one's window is shorter by %v, want %v", lost, step)
	}
	for i, g := range grants[:n-1] {
		if g.Until.End().Mono < end.Mono {
			t.Errorf("the window of %d, renewed by the new clock, is shorter by %v", i, end.Mono-g.Until.End().Mono)
		}
	}
}

// mustEndEarlier fails unless g's window, which a renewal sent then has measured, is shorter by the step.
func mustEndEarlier(t *testing.T, d *driver, g *protocol.Grant, sent protocol.Instant) {
	t.Helper()
	want := protocol.WindowEnd(sent, expiryAt(sent), serverAt(sent), d.state.Config.Margin+step)
	if end := g.Until.End(); end.Mono > want.Mono || end.Mono < want.Mono-10*time.Millisecond {
		t.Errorf("the window ends at %v, want %v", end.Mono, want.Mono)
	}
}

// The renewal ran before the step, and its answer comes when another semaphore has found the step.
func TestARenewalFromBeforeAStepExtendsTheLeaseByLess(t *testing.T) {
	m := quietManager(t)
	server := m.transport.Server("")
	d, g := shared(t, m, "gpu")
	renewedBy(t, d, server, 0)
	m.clock.(*clock.Mock).Add(time.Second)
	d.mu.Lock()
	now := m.now()
	d.state.RenewAt, d.state.AtTransport = now, false
	batch := d.state.Depart(now, protocol.Reading{})
	d.mu.Unlock()
	batch.Calls[0].Server, batch.Calls[0].Expiry = serverAt(now), expiryAt(now)
	m.clock.(*clock.Mock).Add(time.Second)
	found := m.now()
	d.hear(server, protocol.Reading{Sent: found, Received: found, Micros: serverAt(found) + step.Microseconds()})
	d.Arrive(batch, server)
	mustEndEarlier(t, d, g, now)
}

// A batch renews what is held and asks for more; between the two calls the server's clock steps ahead.
func TestARenewalFromBeforeAStepInItsOwnBatchExtendsTheLeaseByLess(t *testing.T) {
	m := quietManager(t)
	server := m.transport.Server("")
	d, g := shared(t, m, "gpu")
	renewedBy(t, d, server, 0)
	m.clock.(*clock.Mock).Add(time.Second)
	d.mu.Lock()
	now := m.now()
	d.state.Ask(now, &protocol.Waiter{Weight: 1, Done: make(chan struct{}), Holding: &protocol.Holding{Holder: g.Holding.Holder}})
	d.state.RenewAt, d.state.AtTransport = now, false
	batch := d.state.Depart(now, protocol.Reading{})
	d.mu.Unlock()
	if len(batch.Calls) != 2 || batch.Calls[0].Verb != protocol.Renew {
		t.Fatalf("sent %v, want a renewal and a request", batch.Calls)
	}
	refuse(batch, now)
	batch.Calls[0].Expiry = expiryAt(now)
	batch.Calls[1].Server += step.Microseconds()
	d.Arrive(batch, server)
	mustEndEarlier(t, d, g, now)
}

// The clock steps ahead, back and ahead. One semaphore had its answers while it was ahead, and finds nothing; another had
// its only answer meanwhile. It asks again.
func TestAnAnswerThatContradictsAnotherSemaphoresHasThatOneRenewed(t *testing.T) {
	m := quietManager(t)
	server := m.transport.Server("")
	first, _ := shared(t, m, "first")
	second, g := shared(t, m, "second")
	due := func() bool {
		second.mu.Lock()
		defer second.mu.Unlock()
		return second.state.RenewalDue(m.now())
	}
	renewedBy(t, first, server, step)
	m.clock.(*clock.Mock).Add(time.Second)
	renewedBy(t, second, server, 0)
	end := g.Until.End()
	m.clock.(*clock.Mock).Add(time.Second)
	if due() {
		t.Fatal("a renewal is due too early")
	}
	renewedBy(t, first, server, step)
	if !due() || g.Until.End() != end {
		t.Errorf("a renewal is due: %v; the window moved by %v before its answer", due(), end.Mono-g.Until.End().Mono)
	}
	renewedBy(t, second, server, step)
	m.clock.(*clock.Mock).Add(time.Second)

	// It is not done for ever where the two are kept by servers with different clocks behind one address.
	rounds := 0
	for range 100 {
		m.clock.(*clock.Mock).Add(6 * time.Second)
		renewedBy(t, second, server, 0)
		renewedBy(t, first, server, step)
		if due() {
			rounds++
		}
	}
	if rounds > 10 {
		t.Errorf("%d rounds of renewals in ten minutes for clocks that do not change", rounds)
	}
}
