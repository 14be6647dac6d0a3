package lease_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

func TestAUsersContextAlwaysHasAReason(t *testing.T) {
	mine := errors.New("mine")
	for _, tc := range []struct {
		name string
		end  func(*lease.Manager, *lease.Lease, context.CancelFunc, context.CancelCauseFunc)
		want error
	}{
		{"lost", func(_ *lease.Manager, l *lease.Lease, _ context.CancelFunc, _ context.CancelCauseFunc) {
			leasetest.Lose(l)
		}, lease.ErrLost},
		{"released", func(_ *lease.Manager, l *lease.Lease, _ context.CancelFunc, _ context.CancelCauseFunc) {
			_ = l.Release()
		}, lease.ErrReleased},
		{"over MaxHold", func(*lease.Manager, *lease.Lease, context.CancelFunc, context.CancelCauseFunc) {
			time.Sleep(10*worldTTL + time.Millisecond)
		}, lease.ErrMaxHold},
		{"closed", func(m *lease.Manager, _ *lease.Lease, _ context.CancelFunc, _ context.CancelCauseFunc) { _ = m.Close() }, lease.ErrClosed},
		{"the caller's cause", func(_ *lease.Manager, _ *lease.Lease, _ context.CancelFunc, cancel context.CancelCauseFunc) {
			cancel(mine)
		}, mine},
		{"done", func(_ *lease.Manager, _ *lease.Lease, done context.CancelFunc, _ context.CancelCauseFunc) { done() }, context.Canceled},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inAnHour(t, func(w *world) {
				m, _ := w.process("p")
				p := w.semaphore(m, 1).Permit(lease.MaxHold(10 * worldTTL))
				callers, cancel := context.WithCancelCause(context.WithValue(context.Background(), anyKey{}, "v"))
				defer cancel(nil)
				ctx, done := w.use(p, callers)
				defer done()
				bystander, doneBystander := w.use(p, context.Background())
				defer doneBystander()
				child, cancelChild := context.WithCancel(ctx)
				defer cancelChild()
				if ctx.Value(anyKey{}) != "v" {
					w.Error("the caller's values are gone")
				}
				tc.end(m, lease.FromContext(ctx), done, cancel)
				if child.Err() == nil || !errors.Is(context.Cause(child), tc.want) || !errors.Is(context.Cause(ctx), tc.want) {
					w.Errorf("the child's cause is %v, the context's %v; want %v at once", context.Cause(child), context.Cause(ctx), tc.want)
				}
				if own := tc.want == mine || tc.want == context.Canceled; own == (bystander.Err() != nil) {
					w.Errorf("another user's context: %v", bystander.Err())
				}
			})
		})
	}
	t.Run("the caller's deadline", func(t *testing.T) {
		inAnHour(t, func(w *world) {
			m, _ := w.process("p")
			p := w.semaphore(m, 1).Permit()
			callers, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			ctx, done := w.use(p, callers)
			defer done()
			want, _ := callers.Deadline()
			if d, ok := ctx.Deadline(); !ok || d != want {
				w.Errorf("deadline %v, %v", d, ok)
			}
			<-ctx.Done()
			if ctx.Err() != context.DeadlineExceeded {
				w.Error(ctx.Err())
			}
		})
	})
}

func TestUsersAndTheirChildrenNeedNoGoroutine(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		p := w.semaphore(m, 1).Permit()
		_, done := w.use(p, context.Background())
		defer done()
		synctest.Wait() // what carried the acquire has gone home
		before := goroutines(w)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		for range 100 {
			used, done := w.use(p, ctx)
			defer done()
			_, cancel := context.WithCancel(used)
			defer cancel()
		}
		if n := goroutines(w) - before; n != 0 {
			w.Errorf("100 users brought %d goroutines", n)
		}
	})
}

func TestUsersEndBeforeThePermitGoesBack(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		p := w.semaphore(m, 1).Permit()
		ctx, done := w.use(p, context.Background())
		defer done()
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		w.net.OnCommand(func(_ string, _ time.Time, cmd []string) {
			if len(membersOf(w.net.Server())) == 0 && child.Err() == nil {
				w.Error("the permit was free while a user's child lived")
			}
		})
		if err := lease.FromContext(ctx).Release(); err != nil {
			w.Error(err)
		}
	})
}

// Acquire, Use, loss and Release at the same time: a user holds the one member in Redis, unless it was lost.
func TestAPermitUsedLostAndGivenBackByManyAtOnce(t *testing.T) {
	inAnHour(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: time.Millisecond, Jitter: 3 * time.Millisecond})
		m, _ := w.process("p")
		p := w.semaphore(m, 1).Permit()
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				for n := range 30 {
					ctx, cancel := context.WithTimeout(context.Background(), time.Duration(1+(i*7+n*3)%40)*time.Millisecond)
					if i%4 == 0 {
						_ = p.Acquire(ctx)
					}
					used, done, err := p.Use(ctx)
					if err == nil {
						time.Sleep(time.Duration((i+n)%5) * time.Millisecond)
						l := lease.FromContext(used)
						if i == 5 && n%10 == 0 {
							leasetest.Lose(l)
						}
						w.net.Look(func(r *miniredis.Miniredis) {
							if _, there := membersOf(r)[l.ID()]; !there && used.Err() == nil {
								w.Error("a user without a permit in Redis")
							}
						})
						done()
						done()
					} else if !errors.Is(err, context.DeadlineExceeded) {
						w.Error(err)
					}
					if i%3 == 0 {
						if err := p.Release(); err != nil && !errors.Is(err, lease.ErrLost) {
							w.Error(err)
						}
					}
					cancel()
				}
			})
		}
		all.Wait()
		_ = p.Release()
		time.Sleep(worldTTL / 4)
		if n := len(w.members()); n != 0 || p.IsHeld() {
			w.Errorf("%d permits are left", n)
		}
		if err := m.Shutdown(context.Background()); err != nil {
			w.Error(err)
		}
	})
}

func TestAPermitKnowsItsSemaphoreAndASemaphoreItsLogger(t *testing.T) {
	inBubble(t, func(w *world) {
		var log bytes.Buffer
		logger := slog.New(slog.NewTextHandler(&log, nil))
		m, _ := w.process("p", func(_ *redis.Options, o *lease.Options) { o.Logger = logger })
		s := w.semaphore(m, 3)
		if p := s.Permit(); p.Semaphore() != s || p.Semaphore().Logger() != logger {
			w.Error("another semaphore, or another logger")
		}
		quiet, _ := w.process("q", func(_ *redis.Options, o *lease.Options) { o.Logger = nil })
		ctx := context.Background()
		if l := w.semaphore(quiet, 3).Logger(); l.Enabled(ctx, slog.LevelInfo) || !l.Enabled(ctx, slog.LevelWarn) {
			w.Error("the default logger is not the one for warnings")
		}
	})
}
