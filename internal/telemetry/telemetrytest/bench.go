//go:build unix

package telemetrytest

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// Bench measures what tracers cost: an acquire with its release, and the renewal of 10,000 leases.
func Bench(b *testing.B, tracers map[string]func() []lease.Tracer) {
	for name, make := range tracers {
		b.Run("pair/"+name, func(b *testing.B) { pairs(b, make()) })
		b.Run("renewal/"+name, func(b *testing.B) { renewals(b, make()) })
		b.Run("calls/"+name, func(b *testing.B) { calls(b, make()) })
	}
}

// pairs are by 16 callers, so that the network is no more than a part of the time.
func pairs(b *testing.B, tracers []lease.Tracer) {
	m := Open(b, redistest.Start(b).Addr(), tracers...)
	s := semaphore(b, m, lease.Config{Name: "gpu", Capacity: 16})
	const callers = 16
	ctx := context.Background()
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			for n := i; n < b.N; n += callers {
				l, err := s.Acquire(ctx)
				if err != nil {
					b.Error(err)
					return
				}
				_ = l.Release()
			}
		})
	}
	all.Wait()
}

// renewals are those of 10,000 leases: each operation is one, all leases together. It reports the processor time of that;
// the time between two of them depends on the TTL alone.
func renewals(b *testing.B, tracers []lease.Tracer) {
	done := make(chan struct{}, 1000)
	m := Open(b, redistest.Start(b).Addr(), append(tracers, renewed{done: done})...)
	s := semaphore(b, m, lease.Config{Name: "gpu", Capacity: 10_000, TTL: 3 * time.Second})
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			for range 100 {
				if _, err := s.Acquire(context.Background()); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	b.ReportAllocs()
	b.ResetTimer()
	for len(done) > 0 { // those while they were acquired
		<-done
	}
	before := processorTime(b)
	for range b.N {
		<-done
	}
	b.ReportMetric(float64((processorTime(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

func processorTime(b *testing.B) time.Duration {
	var use syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &use); err != nil {
		b.Fatal(err)
	}
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

// A renewed is told of renewals.
type renewed struct {
	lease.NopTracer
	done chan struct{}
}

func (r renewed) TraceRenewal(lease.Renewal) {
	select {
	case r.done <- struct{}{}:
	default:
	}
}

// calls are those of a pair without the pair: what the tracers themselves take.
func calls(b *testing.B, tracers []lease.Tracer) {
	info := lease.LeaseInfo{Name: "gpu", ID: "id", Token: 1000, Weight: 1, Began: time.Now()}
	b.ReportAllocs()
	for b.Loop() {
		for _, t := range tracers {
			ctx := t.TraceAcquireStart(context.Background(), lease.AcquireStart{Name: "gpu", Weight: 1})
			t.TraceAcquireEnd(ctx, lease.AcquireEnd{Name: "gpu", Weight: 1, Waited: time.Millisecond, Lease: info})
			releasing := t.TraceReleaseStart(ctx, lease.ReleaseStart{Lease: info})
			t.TraceLeaseEnd(ctx, lease.LeaseEnd{Lease: info, Held: time.Second, Err: lease.ErrReleased})
			t.TraceReleaseEnd(releasing, lease.ReleaseEnd{Lease: info})
		}
	}
}
