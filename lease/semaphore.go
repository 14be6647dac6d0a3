package lease

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/lease/scripts"
)

// A Semaphore is a handle: a name and a Config, no I/O, no goroutine. Making a million of them costs
// nothing but their memory. Safe for concurrent use.
//
// Handles of one name share what this process holds and who waits in it; their Configs may differ, so that limits can
// change while they are used. Each acquire goes by its own handle's Capacity, MaxWait, MaxHold, MaxAttempts and Strict. What
// concerns all callers together (TTL, Margin, RetryInterval, Handover, Linger) is that of the newest handle that has been used,
// from the next grant or renewal on; a longer TTL from the first acquire on that brings it to Redis. Slots and MinReplicas hold
// for all callers from the first handle on that sets them, for as long as this process holds or wants a permit.
type Semaphore struct {
	manager *Manager
	number  int64 // a newer handle has a larger one
	cfg     Config
	state   protocol.Config
	keys    *scripts.Keys
}

// Semaphore returns a handle. It fails when the Config cannot work, and after Shutdown or Close.
func (m *Manager) Semaphore(cfg Config) (*Semaphore, error) {
	cfg, err := cfg.complete()
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	draining := m.draining
	m.handles++
	number := m.handles
	m.mu.Unlock()
	if draining {
		return nil, ErrClosed
	}
	return &Semaphore{manager: m, number: number, cfg: cfg, state: cfg.forState(), keys: scripts.KeysOf(m.prefix, cfg.Name, cfg.TTL, cfg.Capacity)}, nil
}

// made returns an error for a handle that Manager.Semaphore has not made.
func (s *Semaphore) made() error {
	if s == nil || s.manager == nil {
		return &OptionError{"Semaphore", "zero", "make it with Manager.Semaphore"}
	}
	return nil
}

// Name returns the semaphore's name, without the prefix.
func (s *Semaphore) Name() string {
	if s.made() != nil {
		return ""
	}
	return s.cfg.Name
}

// Config returns what the semaphore works with, the defaults filled in.
func (s *Semaphore) Config() Config {
	if s.made() != nil {
		return Config{}
	}
	return s.cfg
}

// An AcquireOption changes one acquire.
type AcquireOption func(*acquireOptions) error

type acquireOptions struct {
	weight  int
	label   string
	maxWait time.Duration
	maxHold time.Duration
}

// with applies opts. What they are given a pointer to is made only where there are any.
func (o acquireOptions) with(opts []AcquireOption) (acquireOptions, error) {
	if len(opts) == 0 {
		return o, nil
	}
	changed := o
	for _, opt := range opts {
		if opt == nil {
			return o, &OptionError{"AcquireOption", "nil", "leave it out"}
		}
		if err := opt(&changed); err != nil {
			return o, err
		}
	}
	return changed, nil
}

// Weight asks for n permits at once, or none: 1 to 1000, and no more than the capacity in force. Requests
// are served in order, so that a heavy one is not starved: those behind it wait until it fits.
func Weight(n int) AcquireOption {
	return func(o *acquireOptions) error {
		if n < 1 || n > maxWeight {
			return &OptionError{"Weight", n, fmt.Sprintf("must be from 1 to %d", maxWeight)}
		}
		o.weight = n
		return nil
	}
}

// Label says what the permit is for: Inspect, tracers and the log show it with the holder, and while the acquire waits. Up
// to 64 printable ASCII characters without '@', '#', ','; it is part of the permit's id in Redis. A permit passes from caller to
// caller of this process without Redis (Config.Handover, Config.Linger) only where both have the same label.
func Label(text string) AcquireOption {
	return func(o *acquireOptions) error {
		if bad := strings.IndexFunc(text, func(r rune) bool { return !labelRune(r) }); bad >= 0 || len(text) > maxLabel {
			return &OptionError{"Label", text, fmt.Sprintf("use up to %d printable ASCII characters without '@', '#', ','", maxLabel)}
		}
		o.label = text
		return nil
	}
}

// MaxWait bounds the wait of one acquire, in place of Config.MaxWait. Negative: there is one attempt, as with
// TryAcquire. 0 is the Config's.
func MaxWait(d time.Duration) AcquireOption {
	return func(o *acquireOptions) error {
		if d != 0 {
			o.maxWait = d
		}
		return nil
	}
}

// MaxHold bounds how long the lease is held; see Config.MaxHold.
func MaxHold(d time.Duration) AcquireOption {
	return func(o *acquireOptions) error {
		if d <= 0 {
			return &OptionError{"MaxHold", d, "must be positive; leave it out for the Config's"}
		}
		o.maxHold = d
		return nil
	}
}

// Acquire waits for a permit and returns the lease on it. A context with a timeout for the wait would
// end the lease too, when it fires: to bound the wait, use MaxWait.
//
// It waits until a permit is free, the wait is used up (ErrAtCapacity, a *CapacityError), ctx ends (its
// error and its cause), or the manager is shut down (ErrClosed). A caller that
// Redis has never answered fails with a *RedisError after three attempts without an answer, or at once when an error will
// not pass by itself. One that Redis has answered goes on waiting through an outage; only an error that no retry can mend
// ends its wait. Whatever it returns, a permit that Redis may have granted meanwhile goes back by itself.
//
// The lease's context is derived from ctx. Safe for concurrent use.
//
// When ctx belongs to leases of the same semaphore, and these and the new one together exceed the capacity in force,
// Acquire would wait for itself: it fails at once with ErrDeadlock (a *DeadlockError).
func (s *Semaphore) Acquire(ctx context.Context, opts ...AcquireOption) (*Lease, error) {
	if err := s.made(); err != nil {
		return nil, err
	}
	o, err := acquireOptions{weight: 1, maxWait: s.cfg.MaxWait, maxHold: s.cfg.MaxHold}.with(opts)
	if err != nil {
		return nil, err
	}
	return s.acquire(ctx, o)
}

// TryAcquire makes one attempt, and returns ErrAtCapacity (a *CapacityError) when no permit is free or
// others of this process wait. It waits for the answer of Redis. See Acquire for the rest.
func (s *Semaphore) TryAcquire(ctx context.Context, opts ...AcquireOption) (*Lease, error) {
	return s.Acquire(ctx, append(opts[:len(opts):len(opts)], MaxWait(-1))...)
}

func (s *Semaphore) acquire(ctx context.Context, o acquireOptions) (*Lease, error) {
	if ctx == nil {
		return nil, &OptionError{"ctx", "nil", "pass context.Background() where there is none"}
	}
	m := s.manager
	w := &protocol.Waiter{
		Weight: o.weight, Label: o.label, Capacity: s.cfg.Capacity, Strict: s.cfg.Strict, Slots: s.cfg.Slots, MinReplicas: s.cfg.MinReplicas, Once: o.maxWait < 0,
		MaxAttempts: s.cfg.MaxAttempts, Own: s.heldBy(ctx),
	}
	if o.maxWait > 0 {
		w.Deadline = m.now().Add(o.maxWait)
	}
	if m.tracer != nil {
		return s.traceAcquire(ctx, o, w)
	}
	return s.wait(ctx, o, w)
}

// wait waits for the lease of w.
func (s *Semaphore) wait(ctx context.Context, o acquireOptions, w *protocol.Waiter) (*Lease, error) {
	m := s.manager
	for {
		if ctx.Err() != nil {
			return nil, s.waitEnded(ctx, public(w.Trouble))
		}
		d, err := m.driverOf(s, false)
		if err != nil {
			return nil, err
		}
		w.Done = make(chan struct{})
		l := newLease(&hold{semaphore: s, driver: d, parent: ctx, Holding: protocol.Holding{MaxHold: o.maxHold}})
		w.Holding = &l.hold.Holding
		now := m.now()
		served := d.state.Ask(now, w)
		d.finish(now, !served && ctx.Done() == nil && w.Deadline.IsZero()) // nobody waits for this goroutine to look up
		select {
		case <-w.Done:
		case <-ctx.Done():
			s.cancel(d, w)
			return nil, s.waitEnded(ctx, public(w.Trouble))
		}
		if w.Failed != nil {
			return nil, s.errorOf(w)
		}
		if l.hold.valid() {
			return l, nil
		}
		// Its window, or MaxHold, ended before this goroutine ran: it was never a lease.
		reason := l.hold.over()
		l.hold.giveUp()
		if errors.Is(reason, ErrMaxHold) {
			return nil, reason
		}
	}
}

// heldBy is the weight of the leases of this semaphore that ctx belongs to.
func (s *Semaphore) heldBy(ctx context.Context) (weight int) {
	for l := FromContext(ctx); l != nil; l = FromContext(l.hold.parent) {
		if h := l.hold; h.semaphore.manager == s.manager && h.semaphore.cfg.Name == s.cfg.Name && h.valid() {
			weight += int(h.Grant.Weight)
		}
	}
	return weight
}

// cancel ends the wait of a caller whose context has ended. If the permit was faster, it goes back all
// the same: a caller that gave up gets no lease.
func (s *Semaphore) cancel(d *driver, w *protocol.Waiter) {
	d.mu.Lock()
	now := s.manager.now()
	waited := !d.dead && d.state.Leave(now, w, protocol.ReasonCancelled)
	if d.dead {
		d.mu.Unlock()
	} else {
		d.finish(now, false)
	}
	if !waited && w.Failed == nil {
		w.Holding.Holder.(*hold).giveUp()
	}
}

// errorOf is why w got no lease.
func (s *Semaphore) errorOf(w *protocol.Waiter) error {
	switch r := w.Failed; r.Kind {
	case protocol.NoRoom:
		return &CapacityError{Name: s.cfg.Name, Weight: w.Weight, Capacity: r.Capacity, Held: r.Held, Waiting: r.Waiting, RetryAfter: r.RetryAfter}
	case protocol.TooHeavy:
		return &OptionError{"Weight", w.Weight, fmt.Sprintf("semaphore %q has a capacity of %d", s.cfg.Name, r.Capacity)}
	case protocol.Deadlock:
		return &DeadlockError{Name: s.cfg.Name, Weight: w.Weight, Held: w.Own, Capacity: r.Capacity}
	case protocol.Disagreed:
		return &DisagreementError{Name: s.cfg.Name, Capacity: s.cfg.Capacity, TTL: r.OwnTTL, OtherCapacity: r.Capacity, OtherTTL: r.TTL}
	case protocol.Unanswered:
		return &RedisError{Op: "acquire", Name: s.cfg.Name, Err: public(r.Trouble)}
	default:
		return ErrClosed
	}
}

// waitEnded is the error of a caller whose context ended: its error, its cause, and what Redis said last.
func (s *Semaphore) waitEnded(ctx context.Context, trouble error) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if !errors.Is(cause, err) {
		err = fmt.Errorf("%w: %w", err, cause)
	} else {
		err = cause
	}
	if trouble != nil {
		return fmt.Errorf("lease: acquire %q: %w (the latest attempt failed: %w)", s.cfg.Name, err, trouble)
	}
	return fmt.Errorf("lease: acquire %q: %w", s.cfg.Name, err)
}

// Do acquires a permit, runs fn with the lease's context, and releases the permit when fn has returned,
// panicked or called runtime.Goexit. See Acquire for the wait and its errors.
//
// It returns fn's error. When the lease was lost before fn returned, or held for longer than MaxHold,
// the result matches that too, and a fn that returned nil has worked without protection: the result is
// the *LostError or the *HoldError. A give-back that fails is logged; it turns no success into failure.
func (s *Semaphore) Do(ctx context.Context, fn func(context.Context) error, opts ...AcquireOption) error {
	if fn == nil {
		return &OptionError{"fn", "nil", "pass the function to run"}
	}
	l, err := s.Acquire(ctx, opts...)
	if err != nil {
		return err
	}
	return l.run(fn)
}

// run runs fn with the lease's context, and releases the permit when fn has returned, panicked or called
// runtime.Goexit. Semaphore.Do says what it returns.
func (l *Lease) run(fn func(context.Context) error) (err error) {
	s := l.hold.semaphore
	returned := false
	defer func() {
		lost := l.lostMeanwhile()
		back := l.Release()
		if lost == nil && errors.Is(back, ErrLost) {
			lost = back
		}
		if lost == nil && back != nil {
			s.manager.warn(s.cfg.Name, "release", "lease: a permit was not given back; its TTL frees it", "semaphore", s.cfg.Name, "error", back)
		}
		if returned {
			err = withLoss(err, lost)
		}
	}()
	err = fn(l.Context())
	returned = true
	return err
}

// lostMeanwhile returns why the lease ended without its holder's doing, nil if it did not.
func (l *Lease) lostMeanwhile() error {
	if reason := l.hold.over(); reason != ErrReleased {
		return reason
	}
	return nil
}

// withLoss adds the loss of the lease to the error of the work that was done under it.
func withLoss(err, lost error) error {
	switch {
	case lost == nil || errors.Is(err, lost):
		return err
	case err == nil:
		return lost
	default:
		return fmt.Errorf("%w (%w)", err, lost)
	}
}

// Logger returns the logger of the semaphore's manager: Options.Logger, or what stands in for it.
func (s *Semaphore) Logger() *slog.Logger {
	if s.made() != nil {
		return slog.Default()
	}
	return s.manager.log
}
