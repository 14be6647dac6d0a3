package guard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// The keeper holds the lease. It is a process of its own, in a session of its own, so that no signal from the terminal and
// no stop reaches it together with the front. It ends the command when the front cannot.

// Keep is the keeper's main function. socket is its only connection to the front.
func Keep(socket *os.File) error {
	front, err := newLine(socket)
	if err != nil {
		return err
	}
	var settings Settings
	if err := front.receive(&settings); err != nil {
		return err
	}
	k := &keeper{front: front, settings: settings, orders: make(chan order), done: make(chan struct{})}
	defer close(k.done)
	go k.listen()
	return k.run()
}

type keeper struct {
	front    *line
	settings Settings
	orders   chan order // closed when the front is gone
	done     chan struct{}

	mu    sync.Mutex
	lease *lease.Lease // nil: there is none yet
}

func (k *keeper) listen() {
	defer close(k.orders)
	for {
		var o order
		if err := k.front.receive(&o); err != nil {
			return
		}
		select {
		case k.orders <- o:
		case <-k.done:
			return
		}
	}
}

func (k *keeper) run() error {
	s := k.settings
	m, err := lease.Open(s.URL, lease.Options{
		Prefix: s.Prefix, Owner: s.Owner, Tracers: []lease.Tracer{renewals{keeper: k}}, Logger: slog.New(slog.NewTextHandler(lines{k}, nil)),
	})
	if err != nil {
		return k.fail(err)
	}
	defer m.Close()
	cfg, err := k.config(m)
	if err != nil {
		return k.fail(err)
	}
	sem, err := m.Semaphore(cfg)
	if err != nil {
		return k.fail(err)
	}
	l, err := k.acquire(m, sem)
	if err != nil {
		return k.fail(err)
	}
	if l == nil { // the front is gone
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return m.Shutdown(ctx)
	}
	return k.hold(l, sem.Config().TTL)
}

// config completes what was asked for by what the fleet declares.
func (k *keeper) config(m *lease.Manager) (lease.Config, error) {
	s := k.settings
	cfg := lease.Config{Name: s.Name, Capacity: s.Capacity, TTL: s.TTL, Slots: s.Slots, MinReplicas: s.MinReplicas}
	if cfg.Capacity == 0 {
		ctx, cancel := context.WithTimeout(context.Background(), s.Timeout)
		defer cancel()
		state, err := m.Inspect(ctx, s.Name)
		if err != nil {
			return cfg, err
		}
		if cfg.Capacity = state.OtherDeclared; cfg.Capacity == 0 {
			return cfg, usageError{fmt.Sprintf("nobody has declared a capacity of %q yet: say --capacity N", s.Name)}
		}
		if cfg.TTL == 0 {
			cfg.TTL = state.OtherTTL
		}
	}
	if cfg.TTL == 0 {
		cfg.TTL = DefaultTTL
	}
	return cfg, nil
}

// DefaultTTL is the library's.
const DefaultTTL = 15 * time.Second

// acquire waits for the permit. It returns nil when the front is gone.
func (k *keeper) acquire(m *lease.Manager, sem *lease.Semaphore) (*lease.Lease, error) {
	s := k.settings
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	type result struct {
		lease *lease.Lease
		err   error
	}
	acquired := make(chan result, 1)
	began := time.Now()
	go func() {
		opts := []lease.AcquireOption{lease.Label(s.Label)}
		if s.Weight > 1 {
			opts = append(opts, lease.Weight(s.Weight))
		}
		if s.MaxHold > 0 {
			opts = append(opts, lease.MaxHold(s.MaxHold))
		}
		if s.MaxWait > 0 {
			opts = append(opts, lease.MaxWait(s.MaxWait))
		}
		var r result
		if s.MaxWait < 0 {
			r.lease, r.err = sem.TryAcquire(ctx, opts...)
		} else {
			r.lease, r.err = sem.Acquire(ctx, opts...)
		}
		acquired <- r
	}()
	var look <-chan time.Time
	if s.ShowQueue {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		look = ticker.C
	}
	for {
		select {
		case r := <-acquired:
			if r.err != nil {
				return nil, r.err
			}
			l := r.lease
			k.mu.Lock()
			k.lease = l
			k.mu.Unlock()
			k.front.send(notice{Kind: noticeGranted, Until: k.until(), Granted: &granted{
				ID: l.ID(), Owner: s.Owner, Token: l.Token(), Slots: l.Slots(), Weight: max(s.Weight, 1), TTL: sem.Config().TTL, Waited: time.Since(began),
			}})
			return l, nil
		case _, open := <-k.orders:
			if !open {
				cancel()
				if r := <-acquired; r.lease != nil {
					_ = r.lease.Release()
				}
				return nil, nil
			}
		case <-look:
			go k.showQueue(ctx, m)
		}
	}
}

// showQueue tells the front how the wait stands.
func (k *keeper) showQueue(ctx context.Context, m *lease.Manager) {
	ctx, cancel := context.WithTimeout(ctx, k.settings.Timeout)
	defer cancel()
	state, err := m.Inspect(ctx, k.settings.Name)
	if err != nil {
		k.front.send(notice{Kind: noticeQueue, Line: err.Error()})
		return
	}
	q := &queue{Waiting: len(state.Waiters), Held: state.Held, Capacity: state.Capacity}
	for _, w := range state.Waiters {
		if shortOwner(w.Owner) == k.settings.Owner {
			q.Place = w.Place
		}
	}
	var longest time.Time
	for _, h := range state.Holders {
		if !h.AskedAt.IsZero() && (longest.IsZero() || h.AskedAt.Before(longest)) {
			longest = h.AskedAt
			q.Longest, q.LongestFor = who(h.Owner, h.Label), state.ServerTime.Sub(h.AskedAt)
		}
	}
	k.front.send(notice{Kind: noticeQueue, Queue: q})
}

// shortOwner is what Options.Owner was.
func shortOwner(owner string) string {
	if i := strings.LastIndexByte(owner, '~'); i >= 0 {
		return owner[:i]
	}
	return owner
}

func who(owner, label string) string {
	owner = shortOwner(owner)
	if label == "" {
		return owner
	}
	return fmt.Sprintf("%s '%s'", owner, label)
}

// until is when the trust window ends.
func (k *keeper) until() *boottime {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.lease == nil {
		return nil
	}
	t := boottimeOf(k.lease.TrustedUntil())
	return &t
}

// hold keeps the permit until the front says that the command's last process is gone.
func (k *keeper) hold(l *lease.Lease, ttl time.Duration) error {
	c := &command{front: k.settings.Front, keeper: os.Getpid(), mark: mark(k.settings.Name, l.ID())}
	bell, err := newAlarm()
	if err != nil {
		_ = l.Release()
		return k.fail(err)
	}
	defer bell.stop()
	kill := func(atMost time.Duration) []process {
		if os.Getppid() != c.front { // it has ended: its id may be another's by now
			c.front = 0
		}
		return c.kill(atMost, func() {})
	}
	var lost <-chan struct{} = l.Held().Done()
	killed := false
	for {
		if until := k.until(); !killed {
			bell.set(until.add(-killBefore(ttl)))
		}
		select {
		case o, open := <-k.orders:
			switch {
			case !open: // the front is gone: nobody else ends what it has started
				left := kill(time.Minute)
				if len(left) > 0 {
					return fmt.Errorf("cannot kill %s", names(left)) // time takes the permit
				}
				return l.Release()
			case o.Kind == orderStart:
				c.pid, c.group = o.PID, o.Group
			case o.Kind == orderTell:
				k.front.send(notice{Kind: noticeTold, Until: k.until()})
			case o.Kind == orderRelease:
				err := l.Release()
				n := notice{Kind: noticeReleased}
				if err != nil && !errors.Is(err, lease.ErrLost) && !errors.Is(err, lease.ErrMaxHold) {
					n.Line = err.Error()
				}
				k.front.send(n)
				return nil
			}
		case <-lost:
			lost = nil
			k.front.send(notice{Kind: noticeLost, Loss: lossOf(l), Until: k.until()})
		case <-bell.C:
			until := k.until()
			if killed = now() >= until.add(-killBefore(ttl)); killed {
				kill(now().until(*until)) // the front does the same, unless it is stopped
				k.front.send(notice{Kind: noticeKilled, Loss: lossOf(l)})
			}
		}
	}
}

func lossOf(l *lease.Lease) *Loss {
	err := l.Err()
	loss := &Loss{Reason: "expired", TrustedUntil: l.TrustedUntil()}
	var lost *lease.LostError
	switch {
	case errors.As(err, &lost):
		loss.Reason = map[lease.LossReason]string{lease.LossExpired: "expired", lease.LossRemoved: "removed", lease.LossRevoked: "revoked"}[lost.Reason]
	case errors.Is(err, lease.ErrMaxHold):
		loss.Reason = LossMaxHold
	}
	if err != nil {
		loss.Err = err.Error()
	}
	return loss
}

// The reasons for a loss that are not the library's.
const (
	LossMaxHold = "max_hold"
	LossKeeper  = "keeper"
)

// fail tells the front why there is no lease.
func (k *keeper) fail(err error) error {
	f := FailureOf(err)
	k.front.send(notice{Kind: noticeFailed, Failure: &f})
	return nil
}

// renewals tells the front of each renewal.
type renewals struct {
	lease.NopTracer
	keeper *keeper
}

func (r renewals) TraceRenewal(e lease.Renewal) {
	n := renewal{Slack: e.Slack}
	if e.Err != nil {
		n.Err = e.Err.Error()
	}
	if until := r.keeper.until(); until != nil {
		r.keeper.front.send(notice{Kind: noticeRenewal, Renewal: &n, Until: until})
	}
}

// lines sends the library's log to the front.
type lines struct{ keeper *keeper }

func (w lines) Write(p []byte) (int, error) {
	w.keeper.front.send(notice{Kind: noticeQueue, Line: strings.TrimSuffix(string(p), "\n")})
	return len(p), nil
}
