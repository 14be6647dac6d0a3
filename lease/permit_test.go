package lease_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/benbjohnson/clock"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

func (w *world) use(p *lease.Permit, ctx context.Context) (context.Context, context.CancelFunc) {
	w.Helper()
	used, done, err := p.Use(ctx)
	if err != nil {
		w.Fatal(err)
	}
	return used, done
}

// inAnHour is inBubble for a test that may hang: renewals go on in virtual time, so that no deadlock is
// found.
func inAnHour(t *testing.T, test func(*world)) {
	t.Helper()
	inBubble(t, func(w *world) {
		stuck := time.AfterFunc(time.Hour, func() { panic("the test hangs") })
		w.Cleanup(func() { stuck.Stop() })
		test(w)
	})
}

func TestUsersOfAPermitShareOneLease(t *testing.T) {
	inAnHour(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: 20 * time.Millisecond})
		m, _ := w.process("p")
		p := w.semaphore(m, 5).Permit()
		leases := make([]*lease.Lease, 50)
		var all sync.WaitGroup
		for i := range leases {
			all.Go(func() {
				if i%2 == 0 {
					if err := p.Acquire(context.Background()); err != nil {
						w.Error(err)
					}
				}
				ctx, done := w.use(p, context.Background())
				defer done()
				leases[i] = lease.FromContext(ctx)
			})
		}
		all.Wait()
		for _, l := range leases {
			if l != leases[0] || !l.Valid() {
				w.Fatal("the users do not share one lease")
			}
		}
		if n := len(w.members()); n != 1 || !p.IsHeld() {
			w.Errorf("%d permits in Redis, held %v; want 1", n, p.IsHeld())
		}
		if err := p.Release(); err != nil {
			w.Error(err)
		}
		if n := len(w.members()); n != 0 || p.IsHeld() {
			w.Errorf("%d permits in Redis after Release, held %v", n, p.IsHeld())
		}
	})
}

func TestACallerWhoGivesUpDoesNotFailTheOthers(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		other, _ := w.process("q")
		taken := w.acquire(w.semaphore(other, 1))
		p := w.semaphore(m, 1).Permit()
		boring := errors.New("boring")
		gaveUp, stayed := make(chan error), make(chan error)
		ctx, cancel := context.WithCancelCause(context.Background())
		go func() { gaveUp <- p.Acquire(ctx) }()
		synctest.Wait() // the first: the acquire is not bound to it
		go func() {
			used, done, err := p.Use(context.Background())
			if err == nil {
				defer done()
				err = used.Err()
			}
			stayed <- err
		}()
		synctest.Wait()
		cancel(boring)
		if err := <-gaveUp; !errors.Is(err, boring) || !errors.Is(err, context.Canceled) {
			w.Errorf("who gave up got %v", err)
		}
		_ = taken.Release()
		if err := <-stayed; err != nil {
			w.Errorf("who stayed got %v", err)
		}
		if !p.IsHeld() {
			w.Error("the permit is not held")
		}
		_ = p.Release()
	})
}

func TestWhenAllCallersGiveUpNothingIsTaken(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		other, _ := w.process("q")
		taken := w.acquire(w.semaphore(other, 1))
		p := w.semaphore(m, 1).Permit()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if err := p.Acquire(ctx); !errors.Is(err, context.DeadlineExceeded) {
					w.Errorf("Acquire returned %v", err)
				}
			})
		}
		all.Wait()
		_ = taken.Release()
		time.Sleep(worldTTL)
		if n := len(w.members()); n != 0 || p.IsHeld() {
			w.Errorf("%d permits were taken for nobody", n)
		}
		if err := p.Acquire(context.Background()); err != nil { // and the next one starts afresh
			w.Error(err)
		}
		_ = p.Release()
	})
}

// The lease comes in the very moment in which its only caller gives up: either the caller has it, or
// nobody does.
func TestALeaseThatComesWhenItsCallerGivesUpIsNotForgotten(t *testing.T) {
	for late := range 40 {
		inAnHour(t, func(w *world) {
			w.net.SetFaults(sim.Faults{Latency: time.Millisecond})
			m, _ := w.process("p")
			p := w.semaphore(m, 1).Permit()
			ctx, cancel := context.WithTimeout(context.Background(), time.Duration(late)*250*time.Microsecond)
			defer cancel()
			err := p.Acquire(ctx)
			time.Sleep(worldTTL / 4) // what was given up has gone back
			if held := len(w.members()) == 1; held != (err == nil) || held != p.IsHeld() {
				w.Errorf("given up after %d/4 ms: Acquire %v, held %v, in Redis %v", late, err, p.IsHeld(), held)
			}
			_ = p.Release()
		})
	}
}

func TestAcquireExtendsAtOnceWhatIsHeld(t *testing.T) {
	inAnHour(t, func(w *world) {
		w.net.SetFaults(sim.Faults{Latency: 5 * time.Millisecond})
		m, host := w.process("p")
		p := w.semaphore(m, 1).Permit()
		ctx, done := w.use(p, context.Background())
		defer done()
		l := lease.FromContext(ctx)
		time.Sleep(worldTTL / 5) // before the first renewal
		extend := func(within time.Duration) {
			w.Helper()
			asked := time.Now()
			if err := p.Acquire(context.Background()); err != nil {
				w.Fatal(err)
			}
			if d := time.Since(asked); d > within {
				w.Errorf("extended after %v", d)
			}
			if got, want := l.TrustedUntil(), asked.Add(worldTTL-worldTTL/20); got.Before(want) {
				w.Errorf("trusted until %v after Acquire, want %v", got.Sub(asked), want.Sub(asked))
			}
			if expiry := w.members()[l.ID()]; time.Until(expiry) < worldTTL-20*time.Millisecond {
				w.Errorf("expires in %v", time.Until(expiry))
			}
		}
		extend(100 * time.Millisecond)
		time.Sleep(time.Second)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { extend(100 * time.Millisecond) })
		}
		all.Wait()

		// Trouble is ridden out, for as long as the caller wants to.
		host.Refuse()
		impatient, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		if err := p.Acquire(impatient); !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("Acquire returned %v", err)
		}
		time.AfterFunc(time.Second, host.Heal)
		extend(2 * time.Second)
		if lease.FromContext(ctx) != l || ctx.Err() != nil {
			w.Error("extending took another permit")
		}
		_ = p.Release()
	})
}

func TestALostPermitIsTakenAnew(t *testing.T) {
	for _, tc := range []struct {
		name string
		lose func(*world, *lease.Lease)
	}{
		{"expired", func(_ *world, l *lease.Lease) { leasetest.Lose(l) }},
		{"removed, as the extending renewal finds out", func(w *world, _ *lease.Lease) { w.net.Server().FlushAll() }},
		{"released by a user", func(_ *world, l *lease.Lease) { _ = l.Release() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inAnHour(t, func(w *world) {
				m, _ := w.process("p")
				p := w.semaphore(m, 2).Permit()
				old, doneOld := w.use(p, context.Background())
				l := lease.FromContext(old)
				time.Sleep(time.Second)
				tc.lose(w, l)
				if err := p.Acquire(context.Background()); err != nil {
					w.Fatal(err)
				}
				if !p.IsHeld() {
					w.Error("Acquire returned nil, and the permit is not held")
				}
				if old.Err() == nil {
					w.Error("the user of the lost lease was not told")
				}
				ctx, done := w.use(p, context.Background())
				if n := lease.FromContext(ctx); n == l || !n.Valid() || n.Token() <= l.Token() {
					w.Error("no new lease")
				}
				doneOld() // what it gives back is the old permit
				synctest.Wait()
				if ctx.Err() != nil || !p.IsHeld() || len(w.members()) != 1 {
					w.Errorf("the old user took the new lease along: %v, %v", context.Cause(ctx), w.members())
				}
				done()
				_ = p.Release()
			})
		})
	}
}

func TestALostPermitGoesBackWhenItsLastUserIsDone(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		p := w.semaphore(m, 2).Permit()
		ctx, done := w.use(p, context.Background())
		_, doneToo := w.use(p, context.Background())
		leasetest.Lose(lease.FromContext(ctx))
		if p.IsHeld() {
			w.Error("held after a loss")
		}
		fresh, doneFresh := w.use(p, context.Background())
		done()
		synctest.Wait()
		if n := len(w.members()); n != 2 {
			w.Errorf("%d permits: the lost one went back while it had a user", n)
		}
		doneToo()
		doneToo()
		synctest.Wait()
		if n := len(w.members()); n != 1 || fresh.Err() != nil {
			w.Errorf("%d permits, want that of the new user", n)
		}
		doneFresh()
		_ = p.Release()
	})
}

func TestReleaseWaitsForTheLastUserAndLetsNobodyIn(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		p := w.semaphore(m, 1).Permit()
		first, doneFirst := w.use(p, context.Background())
		second, doneSecond := w.use(p, context.Background())
		for range 2 {
			if err := p.Release(); err != nil {
				w.Error(err)
			}
		}
		if first.Err() != nil || second.Err() != nil || !p.IsHeld() {
			w.Error("Release ended its users")
		}
		got := make(chan context.Context)
		finish := make(chan bool)
		go func() {
			ctx, done := w.use(p, context.Background())
			got <- ctx
			<-finish
			done()
			close(got)
		}()
		acquired := make(chan error, 1)
		go func() { acquired <- p.Acquire(context.Background()) }()
		mayNot, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if _, _, err := p.Use(mayNot); !errors.Is(err, context.DeadlineExceeded) {
			w.Errorf("a new user got %v", err)
		}
		// Who belongs to a present user gets in: the Release waits for it in any case.
		inner, doneInner := w.use(p, first)
		if lease.FromContext(inner) != lease.FromContext(first) || inner.Err() != nil {
			w.Error("the inner use has another lease")
		}
		doneInner()
		doneFirst()
		doneFirst() // counts once
		time.Sleep(worldTTL)
		select {
		case <-got:
			w.Error("a new user got in while the permit was being released")
		case err := <-acquired:
			w.Errorf("Acquire returned %v while the permit was being released", err)
		default:
		}
		if second.Err() != nil {
			w.Error(context.Cause(second))
		}
		old := lease.FromContext(second)
		doneSecond()
		ctx := <-got
		if l := lease.FromContext(ctx); l == old || !l.Valid() {
			w.Error("the new user has the old lease")
		}
		if err := <-acquired; err != nil {
			w.Error(err)
		}
		close(finish)
		<-got
		if err := p.Release(); err != nil {
			w.Error(err)
		}
		if n := len(w.members()); n != 0 {
			w.Errorf("%d permits are left", n)
		}
	})
}

// The lease is lost while a Release waits for its users: who waits for the Release need wait no longer.
func TestALossEndsTheWaitForARelease(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		p := w.semaphore(m, 2).Permit()
		stuck, done := w.use(p, context.Background())
		defer done()
		_ = p.Release()
		got := make(chan context.CancelFunc)
		go func() { _, done := w.use(p, context.Background()); got <- done }()
		synctest.Wait()
		leasetest.Lose(lease.FromContext(stuck))
		(<-got)()
		_ = p.Release()
	})
}

func TestReleaseOfWhatIsNotHeld(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		other, _ := w.process("q")
		p := w.semaphore(m, 1).Permit()
		if err := p.Release(); err != nil {
			w.Error(err)
		}
		taken := w.acquire(w.semaphore(other, 1))
		acquired := make(chan error)
		go func() { acquired <- p.Acquire(context.Background()) }()
		synctest.Wait()
		if err := p.Release(); err != nil {
			w.Error(err)
		}
		_ = taken.Release()
		if err := <-acquired; err != nil || !p.IsHeld() {
			w.Errorf("an acquire under way: %v, held %v; want it to go on", err, p.IsHeld())
		}
		w.net.Server().FlushAll()
		time.Sleep(worldTTL / 2)
		if err := p.Release(); !errors.Is(err, lease.ErrLost) {
			w.Errorf("Release of a lost permit returned %v", err)
		}
		if err := p.Release(); err != nil {
			w.Errorf("the second Release returned %v", err)
		}
	})
}

func TestAfterCloseAPermitIsClosed(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		p := w.semaphore(m, 1).Permit()
		ctx, done := w.use(p, context.Background())
		if err := m.Close(); err != nil {
			w.Fatal(err)
		}
		if ctx.Err() == nil || !errors.Is(context.Cause(ctx), lease.ErrClosed) || p.IsHeld() {
			w.Errorf("cause %v, held %v", context.Cause(ctx), p.IsHeld())
		}
		if err := p.Acquire(context.Background()); !errors.Is(err, lease.ErrClosed) {
			w.Errorf("Acquire returned %v", err)
		}
		same := context.WithValue(context.Background(), anyKey{}, "v")
		got, no, err := p.Use(same)
		if !errors.Is(err, lease.ErrClosed) || got != same {
			w.Errorf("Use returned %v", err)
		}
		no()
		done()
		if err := p.Release(); err != nil {
			w.Errorf("Release returned %v", err)
		}
	})
}

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

func TestAfterAPauseAPermitAnswersByTheClock(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p", func(_ *redis.Options, o *lease.Options) { o.Clock = stoppedClock{clock.New()} })
		p := w.semaphore(m, 2).Permit()
		ctx, done := w.use(p, context.Background())
		defer done()
		child, cancel := context.WithCancel(ctx)
		defer cancel()
		time.Sleep(time.Until(lease.FromContext(ctx).TrustedUntil()) - time.Nanosecond)
		if !p.IsHeld() || ctx.Err() != nil {
			w.Fatal("ended before its window")
		}
		time.Sleep(time.Nanosecond)
		if ctx.Err() == nil || child.Err() == nil || p.IsHeld() {
			w.Errorf("believed after its window: %v, child %v, held %v", ctx.Err(), child.Err(), p.IsHeld())
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

func TestCallersOfAPermitShareTheEndOfTheirWait(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		other, _ := w.process("q")
		defer w.acquire(w.semaphore(other, 1)).Release()
		p := w.semaphore(m, 1).Permit(lease.MaxWait(time.Second))
		start := time.Now()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				_, _, err := p.Use(context.Background())
				var full *lease.CapacityError
				if !errors.As(err, &full) || full.Held != 1 {
					w.Errorf("Use returned %v", err)
				}
			})
		}
		all.Wait()
		if d := time.Since(start); d != time.Second {
			w.Errorf("waited %v", d)
		}
	})
}

func TestWhatCannotWorkWithAPermitIsSaid(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 1)
		p := s.Permit()
		var none context.Context
		mustRefuse(t, p.Acquire(none), "ctx", "nil")
		_, _, err := p.Use(none)
		mustRefuse(t, err, "ctx", "nil")
		mustRefuse(t, s.Permit(lease.MaxHold(-time.Second)).Acquire(context.Background()), "MaxHold", "-1s")
		_, err = lease.Bind[int, int](p, nil)(context.Background(), 1)
		mustRefuse(t, err, "fn", "nil")
		_, err = lease.Bind(nil, func(context.Context, int) (int, error) { return 0, nil })(context.Background(), 1)
		mustRefuse(t, err, "p", "nil")
		if p.IsHeld() || len(w.members()) != 0 {
			w.Error("a permit was taken for nothing")
		}
		if p.Client() != m.Client() {
			w.Error("Client is not the manager's")
		}
	})
}

// Everything at once: whoever uses the permit holds the one member in Redis, unless it was lost.
func TestAPermitUnderEverything(t *testing.T) {
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

func TestABoundFunctionUsesThePermit(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		p := w.semaphore(m, 1).Permit()
		mine := errors.New("mine")
		var ran *lease.Lease
		length := lease.Bind(p, func(ctx context.Context, s string) (int, error) {
			ran = lease.FromContext(ctx)
			if ctx.Err() != nil || !p.IsHeld() || ctx.Value(anyKey{}) != "v" {
				w.Error("not under the permit")
			}
			switch s {
			case "lose":
				leasetest.Lose(ran)
			case "lose and fail":
				leasetest.Lose(ran)
				return 0, mine
			case "fail":
				return 1, mine
			}
			return len(s), nil
		})
		ctx := context.WithValue(context.Background(), anyKey{}, "v")
		for range 2 {
			if n, err := length(ctx, "four"); n != 4 || err != nil {
				w.Errorf("%d, %v", n, err)
			}
		}
		first := ran
		if !p.IsHeld() {
			w.Error("the permit went back without ReleaseOnComplete")
		}
		if n, err := length(ctx, "fail"); n != 1 || err != mine {
			w.Errorf("%d, %v; want what fn returned", n, err)
		}
		if n, err := length(ctx, "lose"); n != 4 || !errors.Is(err, lease.ErrLost) || ran != first {
			w.Errorf("%d, %v; want the loss", n, err)
		}
		if _, err := length(ctx, "lose and fail"); !errors.Is(err, lease.ErrLost) || !errors.Is(err, mine) {
			w.Errorf("%v does not match both", err)
		}
		_ = p.Release()

		both := make(chan bool)
		once := lease.Bind(p, func(ctx context.Context, how string) (int, error) {
			switch how {
			case "wait":
				<-both
			case "panic":
				panic("oh")
			case "exit":
				runtime.Goexit()
			}
			return 0, ctx.Err()
		}, lease.ReleaseOnComplete())
		slow := make(chan error)
		go func() { _, err := once(ctx, "wait"); slow <- err }()
		synctest.Wait()
		if _, err := once(ctx, "quick"); err != nil {
			w.Error(err)
		}
		synctest.Wait()
		if !p.IsHeld() {
			w.Error("the permit went back under a call that still ran")
		}
		close(both)
		if err := <-slow; err != nil {
			w.Error(err)
		}
		for _, how := range []string{"panic", "exit", "quick"} {
			ended := make(chan bool)
			go func() {
				defer close(ended)
				defer func() { _ = recover() }()
				_, _ = once(ctx, how)
			}()
			<-ended
			synctest.Wait()
			if n := len(w.members()); n != 0 || p.IsHeld() {
				w.Errorf("%d permits after %s", n, how)
			}
		}
		if !strings.Contains(w.log.String(), "lost") {
			w.Error("the losses were not logged")
		}
	})
}
