package lease

import (
	"context"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/eqworks/passbuddy/internal/protocol"
)

// A holding is one time of holding the permit: it is taken, used, and given back or lost. Its lease belongs
// to no caller, so that none of them can end it for the others.
//
// The permit's mu guards it. A lease is never asked anything under mu: the answer may run a logger.
type holding struct {
	cancel context.CancelFunc // of the acquire under way
	taken  chan struct{}      // closed when there is lease or err
	lease  *Lease
	err    error

	waiting  int // callers that wait for taken
	entering int // those of them that will be users
	users    int // that are not done

	leaving    bool          // Release was called: nobody else gets in
	givingBack bool          // somebody does, now
	gone       chan struct{} // closed when it is no longer the permit's
}

// enter returns the holding, with its permit taken, and for a user with one user more. taken reports that
// it was taken for this caller.
func (p *Permit) enter(ctx context.Context, user bool, maxWait *time.Duration) (t *holding, taken bool, err error) {
	if ctx == nil {
		return nil, false, &OptionError{"ctx", "nil", "pass context.Background() where there is none"}
	}
	if p == nil {
		return nil, false, &OptionError{"Permit", "nil", "make it with Semaphore.Permit"}
	}
	if err := p.semaphore.made(); err != nil {
		return nil, false, err
	}
	var timeout <-chan time.Time
	if maxWait != nil {
		timer := p.timer(*maxWait)
		defer timer.Stop()
		timeout = timer.C
	}
	for {
		if ctx.Err() != nil {
			return nil, false, p.semaphore.waitEnded(ctx, nil)
		}
		t := p.look()
		p.mu.Lock()
		switch {
		case t != p.holding: // somebody was faster
			p.mu.Unlock()
		case t == nil || t.lease == nil:
			t, err := p.joinLocked(ctx, t, user, maxWait, timeout)
			return t, true, err
		case t.leaving && !p.insideLocked(ctx, t):
			p.mu.Unlock()
			select {
			case <-t.gone:
			case <-t.lease.Held().Done():
			case <-ctx.Done():
			case <-timeout:
				return nil, false, p.semaphore.refusal(true)
			}
		default:
			if user {
				t.users++
			}
			p.mu.Unlock()
			return t, false, nil
		}
	}
}

// timer bounds a wait; one attempt may share another caller's, and takes no longer than an attempt does.
func (p *Permit) timer(maxWait time.Duration) *clock.Timer {
	if maxWait <= 0 {
		maxWait = p.semaphore.state.Attempt()
	}
	return p.semaphore.manager.clock.Timer(maxWait)
}

// look returns the present holding; one whose lease has ended is none any more.
func (p *Permit) look() *holding {
	for {
		p.mu.Lock()
		t := p.holding
		over := t != nil && t.lease != nil
		p.mu.Unlock()
		if over {
			over = !t.lease.Valid()
		}
		if !over {
			return t
		}
		p.leave(t)
	}
}

// insideLocked reports whether ctx belongs to a user of t who is not done.
func (p *Permit) insideLocked(ctx context.Context, t *holding) bool {
	return t.users > 0 && ctx.Value(insideKey{p}) == t
}

// joinLocked waits for the permit that is being taken, and starts that when t is nil. It unlocks mu.
func (p *Permit) joinLocked(ctx context.Context, t *holding, user bool, maxWait *time.Duration, timeout <-chan time.Time) (*holding, error) {
	if t == nil {
		t = &holding{taken: make(chan struct{}), gone: make(chan struct{})}
		p.holding = t
		opts := p.opts
		if maxWait != nil {
			opts = append(opts, MaxWait(*maxWait))
		}
		taking, cancel := context.WithCancel(context.Background())
		t.cancel = cancel
		go p.take(taking, t, opts)
	}
	t.waiting++
	if user {
		t.entering++
	}
	p.mu.Unlock()

	late := false
	select {
	case <-t.taken:
	case <-ctx.Done():
	case <-timeout:
		late = true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case t.err != nil:
		return nil, t.err
	case t.lease != nil:
		return t, nil // also when ctx ended at the same time: the permit is taken, and Release is due
	}
	t.waiting--
	if user {
		t.entering--
	}
	if t.waiting == 0 {
		p.leaveLocked(t)
		t.cancel()
	}
	if late {
		return nil, p.semaphore.refusal(false)
	}
	return nil, p.semaphore.waitEnded(ctx, nil)
}

// take is the acquire of a holding. It has a goroutine of its own, so that each caller can leave when it
// wants to; when the last one does, the acquire is cancelled and the goroutine ends.
func (p *Permit) take(ctx context.Context, t *holding, opts []AcquireOption) {
	l, err := p.semaphore.Acquire(ctx, opts...)
	p.mu.Lock()
	wanted := p.holding == t
	switch {
	case err != nil:
		t.err = err
		p.leaveLocked(t)
		t.cancel()
	case wanted:
		// Who waits to use it is a user from now on: a Release that comes before they wake waits for them.
		// ctx is the lease's, and stays.
		t.lease, t.users = l, t.entering
	}
	p.mu.Unlock()
	close(t.taken)
	if err == nil && !wanted {
		l.ReleaseAsync()
	}
}

// done takes a user away. The last one gives the permit back when that was asked for, or when the lease
// has ended: time may take the permit of a lost one, but it need not wait for that.
func (p *Permit) done(t *holding) {
	p.mu.Lock()
	t.users--
	back := t.users == 0 && (t.leaving || p.holding != t) && !t.givingBack
	t.givingBack = t.givingBack || back
	p.mu.Unlock()
	if back {
		t.lease.ReleaseAsync()
		p.leave(t)
	}
}

// leave makes room for the next holding. A lease that has ended without users goes back.
func (p *Permit) leave(t *holding) {
	p.mu.Lock()
	p.leaveLocked(t)
	back := t.users == 0 && !t.givingBack
	t.givingBack = t.givingBack || back
	p.mu.Unlock()
	if back {
		t.lease.ReleaseAsync()
	}
}

func (p *Permit) leaveLocked(t *holding) {
	if p.holding == t {
		p.holding = nil
		close(t.gone)
	}
}

// refusal is the error of a caller whose own wait is over, from what Redis said last. held: the permit is, and is about to
// be given back.
func (s *Semaphore) refusal(held bool) error {
	d, err := s.manager.driverOf(s, true)
	if err != nil {
		return err
	}
	now := s.manager.now()
	w := &protocol.Waiter{Weight: 1, Failed: d.state.Refusal(now, held)}
	d.finish(now, false)
	return s.errorOf(w)
}
