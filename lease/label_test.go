package lease_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// labels hear what a tracer is told of labels.
type labels struct {
	lease.NopTracer
	started, ended []string
}

func (t *labels) TraceAcquireStart(ctx context.Context, start lease.AcquireStart) context.Context {
	t.started = append(t.started, start.Label)
	return ctx
}

func (t *labels) TraceLeaseEnd(_ context.Context, end lease.LeaseEnd) {
	t.ended = append(t.ended, end.Lease.Label)
}

const (
	job42 = "job 42: re-index ~/a"
	job43 = " 0123456789 0123456789 0123456789 0123456789 0123456789 01234567" // 64 bytes
)

func TestALabelIsShownWithItsHolderAndWhileItWaits(t *testing.T) {
	inBubble(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: time.Millisecond})
		heard := &labels{}
		a, _ := w.process("a", tracedBy(heard))
		b, _ := w.process("b")
		s, other := w.semaphore(a, 2), w.semaphore(b, 2)
		l := w.acquire(s, lease.Label(job42), lease.Weight(2))
		if l.Label() != job42 || !strings.Contains(l.ID(), ":"+job42+"@") {
			w.Errorf("label %q, id %s", l.Label(), l.ID())
		}
		waits := asking(w, other, lease.Label(job43))
		time.Sleep(100 * time.Millisecond)
		state, err := s.Inspect(context.Background())
		if err != nil {
			w.Fatal(err)
		}
		if h := state.Holders; len(h) != 1 || h[0].Label != job42 || h[0].Weight != 2 || h[0].Owner == "" || time.Since(h[0].AskedAt) > time.Second {
			w.Errorf("holders: %+v", h)
		}
		if q := state.Waiters; len(q) != 1 || q[0].Label != job43 || q[0].Owner == "" {
			w.Errorf("waiters: %+v", q)
		}
		w.release(l)
		start := time.Now()
		g := mustBeServed(w, "the other", waits)
		if g.err != nil || g.lease.Label() != job43 {
			w.Fatalf("the other got %+v", g)
		}
		if waited := g.at.Sub(start); waited > 10*time.Millisecond {
			w.Errorf("it waited %v after the release: its notification was not understood", waited)
		}
		if err := s.Revoke(context.Background(), g.lease.ID()); err != nil {
			w.Error(err)
		}
		<-g.lease.Context().Done()
		if !errors.Is(g.lease.Err(), lease.ErrLost) || !strings.Contains(g.lease.Err().Error(), job43) {
			w.Errorf("lost: %v", g.lease.Err())
		}
		_ = g.lease.Release()
		if len(heard.started) != 1 || heard.started[0] != job42 || len(heard.ended) != 1 || heard.ended[0] != job42 {
			w.Errorf("a tracer heard %+v", heard)
		}
		w.release(w.acquire(s))
		if heard.ended[1] != "" {
			w.Errorf("an acquire without a label is labelled %q", heard.ended[1])
		}
	})
}

// Inspect would say that a permit is for what its first holder did.
func TestAPermitPassesInsideAProcessOnlyBetweenEqualLabels(t *testing.T) {
	for name, change := range map[string]func(*lease.Config){"Handover": func(c *lease.Config) { c.Handover = time.Hour }, "Linger": lingering} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				w.net.SetFaults(sim.Faults{Latency: time.Millisecond})
				m, _ := w.process("a")
				s := w.semaphore(m, 1, change)
				var before *lease.Lease
				for _, label := range []string{"x", "x", "y", "", "", "x"} {
					same := before != nil && before.Label() == label
					if before == nil {
						before = w.acquire(s, lease.Label(label))
						continue
					}
					var l *lease.Lease
					if name == "Linger" {
						w.release(before)
						l = w.acquire(s, lease.Label(label))
					} else {
						waits := asking(w, s, lease.Label(label))
						time.Sleep(10 * time.Millisecond)
						w.release(before)
						l = (<-waits).lease
					}
					if passed := l.ID() == before.ID(); l.Label() != label || passed != same {
						w.Errorf("%q after %q: id %s after %s", label, before.Label(), l.ID(), before.ID())
					}
					state, err := s.Inspect(context.Background())
					if err != nil || len(state.Holders) != 1 || state.Holders[0].Label != label {
						w.Errorf("Inspect says %+v (%v), want the label %q", state.Holders, err, label)
					}
					before = l
				}
				w.release(before)
			})
		})
	}
}

func TestALabelThatWouldBreakAnIDIsRefused(t *testing.T) {
	inBubble(t, func(w *world) {
		m, _ := w.process("a")
		s := w.semaphore(m, 1)
		for _, bad := range []string{"a@b", "a#2", "a,1", "tab\t", "line\n", "müller", "\x7f", job43 + "8"} {
			var wrong *lease.OptionError
			if _, err := s.Acquire(context.Background(), lease.Label(bad)); !errors.As(err, &wrong) || wrong.Option != "Label" {
				w.Errorf("Label(%q): %v", bad, err)
			}
		}
		w.mustBeFree("afterwards")
	})
}

func TestRealRedisALabelGoesWithItsPermit(t *testing.T) {
	server := redistest.Start(t)
	admin := server.Client(t)
	a, _ := openWith(t, "redis://"+server.Addr())
	b, _ := openWith(t, "redis://"+server.Addr())
	s, other := gpu(t, a, lease.Config{RetryInterval: time.Hour}), gpu(t, b, lease.Config{RetryInterval: time.Hour})
	l := realAcquire(t, s, lease.Label(job42))
	waits := asking(t, other, lease.Label(job43))
	mustQueue(t, admin, queueKey, 1)
	if err := l.Release(); err != nil {
		t.Fatal(err)
	}
	g := mustBeServed(t, "the other", waits)
	if g.err != nil || g.lease.Label() != job43 {
		t.Fatalf("%+v", g)
	}
	state, err := s.Inspect(t.Context())
	if err != nil || len(state.Holders) != 1 || state.Holders[0].Label != job43 {
		t.Errorf("Inspect says %+v (%v)", state, err)
	}
	if err := g.lease.Release(); err != nil {
		t.Error(err)
	}
}
