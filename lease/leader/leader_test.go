package leader_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leader"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

const ttl = 6 * time.Second

// A fleet is a few candidates, and what they have done.
type fleet struct {
	*testing.T
	*leasetest.Fleet
	start time.Time

	mu      sync.Mutex
	leading string
	token   int64
	story   []string
	changed chan struct{} // gets one for each term that has begun
}

func inFleet(t *testing.T, test func(*fleet)) {
	synctest.Test(t, func(t *testing.T) {
		test(&fleet{T: t, Fleet: leasetest.NewFleet(t), start: time.Now(), changed: make(chan struct{}, 100)})
	})
}

func (f *fleet) semaphore(p *leasetest.Process) *lease.Semaphore {
	f.Helper()
	s, err := p.Semaphore(lease.Config{Name: "leader", Capacity: 1, TTL: ttl, MaxWait: time.Second})
	if err != nil {
		f.Fatal(err)
	}
	return s
}

func (f *fleet) say(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.story = append(f.story, fmt.Sprintf(format, args...))
}

// next waits until the next term has begun.
func (f *fleet) next() {
	f.Helper()
	within(f.T, "a term begins", f.changed)
}

// within gives up after three hours, in virtual time.
func within[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(3 * time.Hour):
		t.Fatal("nothing happens: " + what)
		panic("not reached")
	}
}

// A member is a candidate of the fleet.
type member struct {
	*leasetest.Process
	name   string
	stop   context.CancelCauseFunc
	resign chan error // has the leader give it up
	done   chan error // of Run
}

// candidate starts one, whose leaders work until their context ends or they resign.
func (f *fleet) candidate(name string, o leader.Options) *member {
	m := &member{f.Process(name, lease.Options{}), name, nil, make(chan error), make(chan error, 1)}
	ctx, cancel := context.WithCancelCause(context.Background())
	m.stop = cancel
	f.Cleanup(func() { cancel(nil) })
	s := f.semaphore(m.Process)
	o.Elected = func(l *lease.Lease) {
		f.mu.Lock()
		if f.leading != "" {
			f.Errorf("%s is elected while %s leads", name, f.leading)
		}
		if l.Token() <= f.token {
			f.Errorf("token %d after %d", l.Token(), f.token)
		}
		f.leading, f.token = name, l.Token()
		f.mu.Unlock()
		f.say("%s leads", name)
	}
	o.Ended = func(_ *lease.Lease, why error) {
		f.mu.Lock()
		f.leading = ""
		f.mu.Unlock()
		f.say("%s ends: %v", name, shortly(why))
	}
	go func() {
		m.done <- leader.Run(ctx, s, func(ctx context.Context) error {
			f.changed <- struct{}{}
			select {
			case err := <-m.resign:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}, o)
	}()
	return m
}

// give has it give the leadership up.
func (m *member) give(t *testing.T, why error) {
	t.Helper()
	select {
	case m.resign <- why:
	case <-time.After(time.Hour):
		t.Fatalf("%s does not lead", m.name)
	}
}

// shortly is the kind of an error.
func shortly(err error) any {
	for _, known := range []error{lease.ErrLost, lease.ErrMaxHold, lease.ErrClosed} {
		if errors.Is(err, known) {
			return known
		}
	}
	return err
}

func (f *fleet) want(story ...string) {
	f.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if got, want := strings.Join(f.story, "\n"), strings.Join(story, "\n"); got != want {
		f.Errorf("what happened:\n%s\nwant:\n%s", got, want)
	}
	f.story = nil
}

func TestTheNextLeadsWhenALeaderResignsOrStops(t *testing.T) {
	inFleet(t, func(f *fleet) {
		patient := leader.Options{Failed: func(err error, _ time.Duration) { t.Errorf("who waits has given up its place: %v", err) }}
		a := f.candidate("a", leader.Options{})
		f.next()
		b := f.candidate("b", patient)
		time.Sleep(time.Minute) // it waits for longer than MaxWait
		c := f.candidate("c", patient)
		time.Sleep(time.Minute)
		had := errors.New("has had enough")
		a.give(t, had)
		if err := within(t, "a ends", a.done); !errors.Is(err, had) {
			t.Errorf("Run returned %v", err)
		}
		f.next()
		f.want("a leads", "a ends: has had enough", "b leads")
		why := errors.New("SIGTERM")
		b.stop(why)
		if err := within(t, "b ends", b.done); !errors.Is(err, why) {
			t.Errorf("Run returned %v", err)
		}
		f.next()
		f.want("b ends: SIGTERM", "c leads")
		c.give(t, nil)
		if err := within(t, "c ends", c.done); err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

// A leader that is cut off stops before the next one begins, and is a candidate again afterwards.
func TestALeaderThatIsCutOffCampaignsAgain(t *testing.T) {
	inFleet(t, func(f *fleet) {
		a := f.candidate("a", leader.Options{})
		f.next()
		b := f.candidate("b", leader.Options{})
		time.Sleep(time.Minute)
		a.Partition()
		f.next()
		f.want("a leads", fmt.Sprintf("a ends: %v", lease.ErrLost), "b leads")
		time.Sleep(time.Minute)
		a.Heal()
		time.Sleep(time.Minute)
		b.give(t, nil)
		f.next()
		f.want("b ends: <nil>", "a leads")
		if len(a.done) > 0 {
			t.Errorf("a has given up: %v", <-a.done)
		}
	})
}

func TestATermIsOverForTheBenefitOfOthers(t *testing.T) {
	inFleet(t, func(f *fleet) {
		f.candidate("a", leader.Options{Term: time.Hour, Label: "term"})
		f.next()
		f.candidate("b", leader.Options{Term: time.Hour})
		start := time.Now()
		f.next()
		if took := time.Since(start).Round(time.Minute); took != time.Hour {
			t.Errorf("b leads after %v", took)
		}
		f.next()
		f.want("a leads", fmt.Sprintf("a ends: %v", lease.ErrMaxHold), "b leads", fmt.Sprintf("b ends: %v", lease.ErrMaxHold), "a leads")
	})
}

// Redis is away when the candidate starts, and while it leads.
func TestACandidateOutlastsTroubleWithRedis(t *testing.T) {
	inFleet(t, func(f *fleet) {
		var failures int
		f.Stall()
		a := f.candidate("a", leader.Options{Failed: func(err error, delay time.Duration) {
			var trouble *lease.RedisError
			if !errors.As(err, &trouble) || delay < 50*time.Millisecond || delay > 5*time.Second {
				t.Errorf("%v, again after %v", err, delay)
			}
			failures++
		}})
		time.Sleep(time.Minute)
		f.Resume()
		f.next()
		if failures < 3 || failures > 60 {
			t.Errorf("%d attempts have failed in a minute", failures)
		}
		f.Restart(false) // it has lost all that it knew
		f.next()
		f.want("a leads", fmt.Sprintf("a ends: %v", lease.ErrLost), "a leads")
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if err := within(t, "a ends", a.done); !errors.Is(err, lease.ErrClosed) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestWhatDoesNotPassEndsTheCampaign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := leasetest.New(t)
		one, _ := m.Semaphore(lease.Config{Name: "one", Capacity: 1})
		two, _ := m.Semaphore(lease.Config{Name: "two", Capacity: 2})
		lead := func(context.Context) error { t.Error("leads"); return nil }
		for name, err := range map[string]error{
			"s":                  leader.Run(t.Context(), nil, lead, leader.Options{}),
			"lead":               leader.Run(t.Context(), one, nil, leader.Options{}),
			"Capacity = 2":       leader.Run(t.Context(), two, lead, leader.Options{}),
			"Options.Term = -1s": leader.Run(t.Context(), one, lead, leader.Options{Term: -time.Second}),
			"label":              leader.Run(t.Context(), one, lead, leader.Options{Label: "a@b"}),
		} {
			if !errors.Is(err, lease.ErrOption) || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(name)) {
				t.Errorf("%s: %v", name, err)
			}
		}
		err := one.Do(t.Context(), func(ctx context.Context) error { return leader.Run(ctx, one, lead, leader.Options{}) })
		if !errors.Is(err, lease.ErrDeadlock) {
			t.Errorf("inside a lease of the same semaphore: %v", err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("no time")
		cancel(why)
		if err := leader.Run(ctx, one, lead, leader.Options{}); !errors.Is(err, why) {
			t.Errorf("ctx has ended: %v", err)
		}
	})
}

// lead gives up just before ctx ends: what it returned counts.
func TestALeaderThatGivesUpAndIsStopped(t *testing.T) {
	inFleet(t, func(f *fleet) {
		s := f.semaphore(f.Process("a", lease.Options{}))
		ctx, stop := context.WithCancel(context.Background())
		had := errors.New("has had enough")
		err := leader.Run(ctx, s, func(context.Context) error { return had }, leader.Options{Ended: func(*lease.Lease, error) { stop() }})
		if !errors.Is(err, had) {
			t.Errorf("Run returned %v", err)
		}
	})
}

func TestWhoIsToldOfTheEndHearsOfAPanicToo(t *testing.T) {
	inFleet(t, func(f *fleet) {
		s := f.semaphore(f.Process("a", lease.Options{}))
		var told error
		func() {
			defer func() {
				if p := recover(); p != "out of ink" {
					t.Errorf("recovered %v", p)
				}
			}()
			_ = leader.Run(context.Background(), s, func(context.Context) error { panic("out of ink") }, leader.Options{Ended: func(_ *lease.Lease, why error) { told = why }})
		}()
		if told == nil || !strings.Contains(told.Error(), "panicked") {
			t.Errorf("told %v", told)
		}
		l, err := s.Acquire(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Release()
	})
}
