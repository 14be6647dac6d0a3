package lease_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
)

// An endTracer listens to the ends of leases.
type endTracer struct {
	lease.NopTracer
	end func(lease.LeaseEnd)
}

func (t endTracer) TraceLeaseEnd(_ context.Context, end lease.LeaseEnd) { t.end(end) }

// A traceLog keeps in words what a tracer is told.
type traceLog struct {
	mu   sync.Mutex
	said []string
}

const renewal = "renewal leases=1 slack=true err=false"

type traceKey struct{ log *traceLog }

func (l *traceLog) say(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said = append(l.said, fmt.Sprintf(format, args...))
}

// sayIn adds what this tracer put into ctx: the call that has returned it.
func (l *traceLog) sayIn(ctx context.Context, format string, args ...any) {
	l.say("%s [%v]", fmt.Sprintf(format, args...), ctx.Value(traceKey{l}))
}

func (l *traceLog) TraceAcquireStart(ctx context.Context, start lease.AcquireStart) context.Context {
	l.say("acquire %s w%d maxwait=%v", start.Name, start.Weight, start.MaxWait)
	return context.WithValue(ctx, traceKey{l}, "acquire")
}

func (l *traceLog) TraceAcquireEnd(ctx context.Context, end lease.AcquireEnd) {
	l.sayIn(ctx, "%v w%d waited=%v place=%d queued=%v err=%v", end.Outcome, end.Weight, end.Waited, end.Place, !end.Queued.IsZero(), end.Err != nil)
}

func (l *traceLog) TraceLeaseEnd(ctx context.Context, end lease.LeaseEnd) {
	l.sayIn(ctx, "%v held=%v", end.Reason, end.Held.Round(time.Second))
}

func (l *traceLog) TraceReleaseStart(ctx context.Context, start lease.ReleaseStart) context.Context {
	l.sayIn(ctx, "release async=%v", start.Async)
	return context.WithValue(ctx, traceKey{l}, "release")
}

func (l *traceLog) TraceReleaseEnd(ctx context.Context, end lease.ReleaseEnd) {
	l.sayIn(ctx, "release over async=%v err=%v", end.Async, end.Err != nil)
}

func (l *traceLog) TraceRenewal(r lease.Renewal) {
	l.say("renewal leases=%d slack=%v err=%v", r.Leases, r.Slack > 0 && r.Slack < r.Window, r.Err != nil)
}

func (l *traceLog) TraceDisagreement(d lease.Disagreement) {
	l.say("disagreement %s %d %v", d.Name, d.Capacity, d.TTL)
}
func (l *traceLog) TraceRecovery(r lease.Recovery) {
	l.say("recovery %s after a while: %v", r.Name, r.Outage > 0)
}
func (l *traceLog) TraceDropped(d lease.Dropped) { l.say("dropped %+v", d) }

func (l *traceLog) take() []string {
	synctest.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	said := l.said
	l.said = nil
	return said
}

// mustSay checks what the tracer was told since the last time, renewals left aside: when they come depends on chance.
func (l *traceLog) mustSay(t *testing.T, want ...string) {
	t.Helper()
	said := slices.DeleteFunc(l.take(), func(s string) bool { return s == renewal })
	if !slices.Equal(said, want) {
		t.Fatalf("the tracer was told\n\t%s\nwant\n\t%s", strings.Join(said, "\n\t"), strings.Join(want, "\n\t"))
	}
}

func tracedBy(all ...lease.Tracer) func(*redis.Options, *lease.Options) {
	return func(_ *redis.Options, o *lease.Options) { o.Tracers = all }
}

func TestATracerIsToldOfALeasesLife(t *testing.T) {
	inBubble(t, func(w *world) {
		var log traceLog
		m, host := w.process("a", tracedBy(&log))
		s := w.semaphore(m, 1, func(c *lease.Config) { c.Handover = time.Minute })
		l := w.acquire(s)
		log.mustSay(w.T, "acquire gpu w1 maxwait=0s", "granted w1 waited=0s place=0 queued=false err=false [acquire]")

		next := make(chan *lease.Lease)
		go func() { next <- w.acquire(s) }()
		time.Sleep(time.Second)
		_, err := s.Acquire(context.Background(), lease.MaxWait(time.Second))
		if !errors.Is(err, lease.ErrAtCapacity) {
			w.Fatal(err)
		}
		ended, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, err := s.Acquire(ended); !errors.Is(err, context.DeadlineExceeded) {
			w.Fatal(err)
		}
		log.mustSay(w.T, "acquire gpu w1 maxwait=0s", "acquire gpu w1 maxwait=1s",
			"at_capacity w1 waited=1s place=2 queued=true err=true [acquire]",
			"acquire gpu w1 maxwait=0s", "canceled w1 waited=1s place=2 queued=true err=true [acquire]")

		time.Sleep(worldTTL / 2)
		if said := log.take(); !slices.Contains(said, renewal) {
			w.Fatalf("of renewals, the tracer was told %q", said)
		}
		_ = l.Release() // to the next, in memory
		l = <-next
		log.mustSay(w.T, "release async=false [acquire]", "released held=6s [acquire]", "release over async=false err=false [release]",
			"handed_over w1 waited=6s place=1 queued=true err=false [acquire]")

		host.Partition()
		<-l.Held().Done()
		said := log.take()
		if n := len(said); n < 2 || said[0] != "renewal leases=1 slack=false err=true" || !strings.HasPrefix(said[n-1], "lost held=") || !strings.HasSuffix(said[n-1], "[acquire]") {
			w.Fatalf("of a loss, the tracer was told %q", said)
		}
		l.ReleaseAsync()
		log.mustSay(w.T, "release async=true [acquire]", "release over async=true err=true [release]")

		host.Heal()
		time.Sleep(3 * worldTTL) // the client finds out which of its connections are dead
		_ = w.acquire(s).Release()
		if said := log.take(); !slices.Contains(said, "recovery gpu after a while: true") {
			w.Fatalf("afterwards, the tracer was told %q", said)
		}
	})
}

func TestATracerIsToldOfAReleaseThatNobodyWaitsFor(t *testing.T) {
	inBubble(t, func(w *world) {
		var log traceLog
		m, _ := w.process("a", tracedBy(&log))
		l := w.acquire(w.semaphore(m, 1))
		log.take()
		l.ReleaseAsync()
		log.mustSay(w.T, "release async=true [acquire]", "released held=0s [acquire]", "release over async=true err=false [release]")
	})
}

func TestATracerIsToldOfEveryEnd(t *testing.T) {
	inBubble(t, func(w *world) {
		var log traceLog
		m, _ := w.process("a", tracedBy(&log))
		s := w.semaphore(m, 3)
		over := w.acquire(s, lease.MaxHold(time.Second))
		revoked := w.acquire(s)
		closed := w.acquire(s)
		log.take()

		<-over.Held().Done()
		log.mustSay(w.T, "max_hold held=1s [acquire]")
		if err := m.Revoke(context.Background(), "gpu", revoked.ID()); err != nil {
			w.Fatal(err)
		}
		<-revoked.Held().Done()
		if said := log.take(); !strings.HasPrefix(said[len(said)-1], "lost held=") {
			w.Fatalf("of a lease that was revoked, the tracer was told %q", said)
		}
		_ = m.Close()
		if closed.Valid() {
			w.Fatal("a lease outlives Close")
		}
		log.mustSay(w.T, fmt.Sprintf("closed held=%v [acquire]", time.Since(time.Unix(0, closed.Token()/1000*1000)).Round(time.Second)))
		if _, err := s.Acquire(context.Background()); !errors.Is(err, lease.ErrClosed) {
			w.Fatal(err)
		}
		log.mustSay(w.T, "acquire gpu w1 maxwait=0s", "closed w1 waited=0s place=0 queued=false err=true [acquire]")
	})
}

func TestATracerIsToldOfADisagreement(t *testing.T) {
	inBubble(t, func(w *world) {
		var log traceLog
		other, _ := w.process("b")
		l := w.acquire(w.semaphore(other, 1))
		m, _ := w.process("a", tracedBy(&log))
		w.acquire(w.semaphore(m, 3))
		if said := log.take(); !slices.Contains(said, "disagreement gpu 1 6s") {
			w.Fatalf("the tracer was told %q", said)
		}
		_ = l.Release()
	})
}

// Each has its own context, whatever the others add.
func TestSeveralTracersAreToldInOrder(t *testing.T) {
	inBubble(t, func(w *world) {
		var first, second traceLog
		m, _ := w.process("a", tracedBy(&first, &second))
		l := w.acquire(w.semaphore(m, 1))
		time.Sleep(worldTTL / 2)
		_ = l.Release()
		said := first.take()
		if also := second.take(); !slices.Equal(said, also) || len(said) < 6 {
			w.Errorf("the first was told %q, the second %q", said, also)
		}
	})
	_, err := lease.New(unconnected(t), lease.Options{Tracers: []lease.Tracer{lease.NopTracer{}, nil}})
	mustRefuse(t, err, "Options.Tracers[1]", "nil")
}

// A permit that came for a caller who had gone is given back without a word: it was no lease.
func TestATracerIsNotToldOfAPermitThatWasNoLease(t *testing.T) {
	inBubble(t, func(w *world) {
		var log traceLog
		m, host := w.process("a", tracedBy(&log))
		s := w.semaphore(m, 1)
		_ = w.acquire(s).Release()
		log.take()
		host.SetFaults(sim.Faults{Latency: 300 * time.Millisecond})
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		if _, err := s.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
			w.Fatal(err)
		}
		time.Sleep(2 * worldTTL)
		log.mustSay(w.T, "acquire gpu w1 maxwait=0s", "canceled w1 waited=200ms place=0 queued=false err=true [acquire]")
	})
}

// An acquireTracer looks at leases that begin.
type acquireTracer struct {
	endTracer
	begin func(lease.AcquireEnd)
}

func (t acquireTracer) TraceAcquireEnd(_ context.Context, end lease.AcquireEnd) { t.begin(end) }

// The end of a lease is told after its begin, also where the lease ends while the tracer is told of that.
func TestALeaseThatEndsBeforeItsTracerKnowsOfItEnds(t *testing.T) {
	inBubble(t, func(w *world) {
		var ends []lease.LeaseEnd
		var mu sync.Mutex
		m, _ := w.process("a", tracedBy(acquireTracer{
			endTracer{end: func(e lease.LeaseEnd) {
				mu.Lock()
				defer mu.Unlock()
				ends = append(ends, e)
			}},
			func(lease.AcquireEnd) {
				time.Sleep(2 * time.Second)
				mu.Lock()
				defer mu.Unlock()
				if len(ends) > 0 {
					w.Error("its end came first")
				}
			},
		}))
		l := w.acquire(w.semaphore(m, 1), lease.MaxHold(time.Second))
		if l.Valid() {
			w.Fatal("it is held for too long")
		}
		synctest.Wait()
		if len(ends) != 1 || ends[0].Reason != lease.EndMaxHold {
			w.Errorf("the tracer was told of the ends %v", ends)
		}
		_ = l.Release()
		synctest.Wait()
		if len(ends) != 1 {
			w.Errorf("the tracer was told of the ends %v", ends)
		}
	})
}

// A hangingTracer waits where it is told to.
type hangingTracer struct {
	lease.NopTracer
	acquire time.Duration // in TraceAcquireEnd
	renewal chan struct{} // until it is closed, in TraceRenewal
}

func (h hangingTracer) TraceAcquireEnd(context.Context, lease.AcquireEnd) { time.Sleep(h.acquire) }
func (h hangingTracer) TraceRenewal(lease.Renewal)                        { <-h.renewal }

func TestASlowTracerMakesItsOwnCallerSlow(t *testing.T) {
	inBubble(t, func(w *world) {
		never := make(chan struct{})
		close(never)
		m, _ := w.process("a", tracedBy(hangingTracer{acquire: 3 * worldTTL, renewal: never}))
		began := time.Now()
		l := w.acquire(w.semaphore(m, 1))
		if took := time.Since(began); took != 3*worldTTL {
			w.Errorf("the acquire took %v", took)
		}
		w.mustHold(l)
	})
}

func TestATracerThatHangsHoldsUpNeitherRenewalsNorClose(t *testing.T) {
	inBubble(t, func(w *world) {
		hang := make(chan struct{})
		m, _ := w.process("a", tracedBy(hangingTracer{renewal: hang}))
		defer close(hang)
		l := w.acquire(w.semaphore(m, 1))
		time.Sleep(10 * worldTTL)
		w.mustHold(l)
		began := time.Now()
		if err := m.Close(); err != nil || time.Since(began) > 0 {
			w.Errorf("Close took %v: %v", time.Since(began), err)
		}
	})
}

// What a tracer wants is recorded only where there is one.
func TestATracerThatIsNotThereCostsNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		without, _ := w.process("a")
		with, _ := w.process("b", tracedBy(lease.NopTracer{}))
		for _, m := range []*lease.Manager{without, with} {
			l := w.acquire(w.semaphore(m, 2))
			time.Sleep(worldTTL) // renewals
			if got, want := lease.RecordsForTracers(l), m == with; got != want {
				w.Errorf("recorded: %v, want %v", got, want)
			}
		}
	})
}
