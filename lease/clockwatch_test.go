package lease

import (
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/redis/go-redis/v9"
)

// answer is a reading of a server whose clock is ahead of serverAt by offset. The call was sent at sent, ran a
// millisecond later, and its answer came after another.
func answered(sent instant, offset time.Duration) reading {
	ran := sent.add(time.Millisecond)
	return reading{sent: sent, received: ran.add(time.Millisecond), micros: serverAt(ran) + offset.Microseconds()}
}

const step = 500 * time.Millisecond

// mustLose checks what a step takes from the windows: it, and what the two answers leave open.
func mustLose(t *testing.T, what string, forward time.Duration, changed bool) {
	t.Helper()
	if !changed || forward < step || forward > step+10*time.Millisecond {
		t.Fatalf("%s takes %v from the windows (changed: %v), want %v", what, forward, changed, step)
	}
}

func mustLoseNothing(t *testing.T, what string, forward time.Duration, changed bool) {
	t.Helper()
	if changed || forward != 0 {
		t.Fatalf("%s takes %v from the windows (changed: %v), want nothing", what, forward, changed)
	}
}

func TestAStepThatWasHeardOfIsTakenOnce(t *testing.T) {
	var w clockWatch
	w.observe(answered(at(0), 0))
	forward, changed := w.hear(answered(at(time.Second), step))
	mustLose(t, "the step", forward, changed)
	forward, changed = w.hear(answered(at(2*time.Second), step))
	mustLoseNothing(t, "the same step, told again", forward, changed)
	forward, changed = w.observe(answered(at(3*time.Second), step))
	mustLoseNothing(t, "the same step, seen", forward, changed)
	forward, changed = w.hear(answered(at(4*time.Second), step))
	mustLoseNothing(t, "the same step, told afterwards", forward, changed)
	forward, changed = w.observe(answered(at(5*time.Second), 2*step))
	mustLose(t, "the next step", forward, changed)
}

func TestTwoStepsBetweenTwoAnswersAreTakenOnceEach(t *testing.T) {
	var w clockWatch
	w.observe(answered(at(0), 0))
	w.hear(answered(at(time.Second), step))
	forward, changed := w.hear(answered(at(2*time.Second), 2*step))
	mustLose(t, "the second step", forward, changed)
	forward, changed = w.observe(answered(at(3*time.Second), 3*step))
	mustLose(t, "the third", forward, changed)
}

// A proxy shows one address for several servers, whose clocks differ and step one by one.
func TestAStepOfANeighboursServerIsNoStepOfThisOne(t *testing.T) {
	var w clockWatch
	w.observe(answered(at(0), 0))
	w.hear(answered(at(time.Second), step))
	for i := range 5 {
		forward, changed := w.observe(answered(at(time.Duration(2+i)*time.Second), 0))
		mustLoseNothing(t, "an answer of its own server", forward, changed)
	}
	if w.heard.micros != 0 || w.taken != 0 {
		t.Fatalf("%v of the step are left", w.taken)
	}
}

// The call ran before the step, and its answer came after the step had been told: its window is measured by the
// clock before.
func TestAnAnswerFromBeforeAStepMeasuresAShorterWindow(t *testing.T) {
	var w clockWatch
	w.observe(answered(at(0), 0))
	late := answered(at(time.Second), 0)
	late.received = at(3 * time.Second)
	w.hear(answered(at(2*time.Second), step))
	forward, changed := w.observe(late)
	mustLoseNothing(t, "the answer from before the step", forward, changed)
	if by := w.behind(late); by < step {
		t.Fatalf("its window is shorter by %v, want %v at least", by, step)
	}
	forward, changed = w.observe(answered(at(4*time.Second), step))
	mustLoseNothing(t, "the step, seen", forward, changed)
	if by := w.behind(answered(at(4*time.Second), step)); by != 0 {
		t.Fatalf("a window by the new clock is shorter by %v", by)
	}
	// And one that was given up, answered when its successor has shown the step.
	if by := w.behind(late); by < step {
		t.Fatalf("the window of an attempt that was given up is shorter by %v, want %v at least", by, step)
	}
}

func TestASlowAnswerHidesNoStep(t *testing.T) {
	var w clockWatch
	w.observe(answered(at(0), 0))
	slow := answered(at(time.Second), 0)
	slow.received = at(3 * time.Second)
	forward, changed := w.observe(slow)
	mustLoseNothing(t, "a slow answer", forward, changed)
	forward, changed = w.observe(answered(at(4*time.Second), step))
	mustLose(t, "the step", forward, changed)
}

func TestASuspendedProcessFindsNoStep(t *testing.T) {
	var w clockWatch
	w.observe(answered(at(0), 0))
	for i := range 3 {
		ran := at(time.Duration(i+1) * time.Second)
		ran.wall += time.Hour // only the wall clock went on
		r := answered(ran, time.Hour)
		r.received = ran.add(time.Second) // slower than the answer before
		forward, changed := w.observe(r)
		mustLoseNothing(t, "an answer after the suspension", forward, changed)
		if notAfter := w.newest().notAfter(ran.add(time.Second)); notAfter < r.micros {
			t.Fatal("a request is late before it is sent")
		}
	}
}

// shared is a conversation with a lease, whose manager sends nothing by itself.
func shared(t *testing.T, m *Manager, name string) (*conversation, *grant) {
	t.Helper()
	s, err := m.Semaphore(Config{Name: name, Capacity: 1, TTL: testTTL})
	if err != nil {
		t.Fatal(err)
	}
	c, err := m.converse(s, false)
	if err != nil {
		t.Fatal(err)
	}
	defer c.mu.Unlock()
	g := &grant{id: idOf(1, 1), weight: 1}
	h := &hold{semaphore: s, conversation: c, holding: holding{grant: g}}
	h.holder = h
	g.hold = &h.holding
	c.desk.keep(m.now().add(c.desk.window), g)
	return c, g
}

// renewedBy has the conversation's renewal answered by a server whose clock is ahead of serverAt.
func renewedBy(t *testing.T, c *conversation, server *serverTime, offset time.Duration) {
	t.Helper()
	c.mu.Lock()
	now := c.manager.now()
	c.desk.renewAt, c.desk.queued = now, false
	ex := c.desk.depart(now, reading{})
	c.mu.Unlock()
	if ex == nil || ex.calls[0].verb != renew {
		t.Fatalf("sent %v, want a renewal", ex)
	}
	ms := offset.Milliseconds()
	ex.calls[0].server, ex.calls[0].expiry = serverAt(now)+1000*ms, expiryAt(now)+ms
	c.arrive(ex, server)
}

// On a Cluster another node can take a semaphore's place; its address is another, and so is its clock.
func TestAnotherNodesClockShortensTheWindowsThatTheOneBeforeMeasured(t *testing.T) {
	for _, sameAddress := range []bool{true, false} {
		t.Run(fmt.Sprintf("the same address: %v", sameAddress), func(t *testing.T) {
			m := quietManager(t)
			c, held := shared(t, m, "gpu")
			before := m.serverAt("10.0.0.1:6379")
			after := before
			if !sameAddress {
				after = m.serverAt("10.0.0.2:6379")
			}
			renewedBy(t, c, before, 0)
			end := held.until.end()

			m.clock.(*clock.Mock).Add(time.Second)
			c.mu.Lock() // the node that takes over answers a request, and renews nothing
			now := m.now()
			w := &waiter{weight: 1, done: make(chan struct{}), hold: &holding{holder: held.hold.holder}}
			c.desk.ask(now, w)
			c.desk.queued = false
			ex := c.desk.depart(now, reading{})
			c.mu.Unlock()
			run(ex, now, 0)
			ex.calls[0].server += step.Microseconds()
			c.arrive(ex, after)

			if lost := end.mono - held.until.end().mono; lost < step || lost > step+10*time.Millisecond {
				t.Errorf("the window is shorter by %v, want %v", lost, step)
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			if !c.desk.renewalDue(m.now()) {
				t.Error("no renewal is due")
			}
		})
	}
}

// Each of many semaphores finds the step in its own answer; the windows of all of them lose it once.
func TestManySemaphoresLoseAStepOnce(t *testing.T) {
	m := quietManager(t)
	server := m.serverAt("")
	const n = 50
	var all []*conversation
	var grants []*grant
	for i := range n {
		c, g := shared(t, m, fmt.Sprint("s", i))
		renewedBy(t, c, server, 0)
		all, grants = append(all, c), append(grants, g)
	}
	end := grants[n-1].until.end()
	m.clock.(*clock.Mock).Add(time.Second)
	for _, c := range all[:n-1] {
		renewedBy(t, c, server, step)
	}
	if lost := end.mono - grants[n-1].until.end().mono; lost < step || lost > step+100*time.Millisecond {
		t.Errorf("the last one's window is shorter by %v, want %v", lost, step)
	}
	for i, g := range grants[:n-1] {
		if g.until.end().mono < end.mono {
			t.Errorf("the window of %d, renewed by the new clock, is shorter by %v", i, end.mono-g.until.end().mono)
		}
	}
}

// The renewal ran before the step, and its answer comes when another semaphore has found the step.
func TestARenewalFromBeforeAStepExtendsTheLeaseByLess(t *testing.T) {
	m := quietManager(t)
	server := m.serverAt("")
	c, g := shared(t, m, "gpu")
	renewedBy(t, c, server, 0)
	m.clock.(*clock.Mock).Add(time.Second)
	c.mu.Lock()
	now := m.now()
	c.desk.renewAt, c.desk.queued = now, false
	ex := c.desk.depart(now, reading{})
	c.mu.Unlock()
	ex.calls[0].server, ex.calls[0].expiry = serverAt(now), expiryAt(now)
	m.clock.(*clock.Mock).Add(time.Second)
	found := m.now()
	c.hear(server, reading{sent: found, received: found, micros: serverAt(found) + step.Microseconds()})
	c.arrive(ex, server)
	want := windowEnd(now, expiryAt(now), serverAt(now), c.desk.cfg.Margin+step)
	if end := g.until.end(); end.mono > want.mono || end.mono < want.mono-10*time.Millisecond {
		t.Errorf("the window ends at %v, want %v", end.mono, want.mono)
	}
}

// quietManager makes a manager that sends nothing.
func quietManager(t *testing.T) *Manager {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:0"})
	m, err := New(client, Options{Owner: "me", Clock: clock.NewMock(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	m.wire.close()
	t.Cleanup(func() {
		_ = m.Close()
		_ = client.Close()
	})
	return m
}
