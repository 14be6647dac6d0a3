package lease

import (
	"context"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/lease/scripts"
)

// What operators change: Resize, Pause, Resume, ResetCapacity and Revoke. Each call is a script of its own, sent at once; it
// waits for Redis, and ctx bounds it. All are safe for concurrent use. The methods of Manager need no Config: they take
// the name of a semaphore, and go by what the fleet declares.

// CheckName returns an *OptionError where there can be no semaphore of that name: it must not be empty, and must have at most
// 512 bytes of valid UTF-8 without control characters and without '}'.
func CheckName(name string) error {
	if name == "" {
		return &OptionError{"name", "", "pass the name of a semaphore; Names lists them"}
	}
	if problem := badInKey(name); problem != "" {
		return &OptionError{"name", name, problem}
	}
	return nil
}

// named is a handle for operators, who declare nothing.
func (m *Manager) named(name string) (*Semaphore, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	return &Semaphore{manager: m, cfg: Config{Name: name}, keys: scripts.KeysOf(m.prefix, name, minTTL, 1)}, nil
}

// Resize is Semaphore.Resize by name.
func (m *Manager) Resize(ctx context.Context, name string, n int, opts ...ChangeOption) error {
	s, err := m.named(name)
	if err != nil {
		return err
	}
	return s.Resize(ctx, n, opts...)
}

// Pause is Semaphore.Pause by name.
func (m *Manager) Pause(ctx context.Context, name string, opts ...ChangeOption) error {
	s, err := m.named(name)
	if err != nil {
		return err
	}
	return s.Pause(ctx, opts...)
}

// Resume is Semaphore.Resume by name. What comes free by it goes to those who wait, as with ResetCapacity.
func (m *Manager) Resume(ctx context.Context, name string) error {
	s, err := m.declared(ctx, name)
	if err != nil {
		return err
	}
	return s.Resume(ctx)
}

// ResetCapacity is Semaphore.ResetCapacity by name. What comes free by it goes to those who wait up to the capacity that
// the process with the latest grant declares.
func (m *Manager) ResetCapacity(ctx context.Context, name string) error {
	s, err := m.declared(ctx, name)
	if err != nil {
		return err
	}
	return s.ResetCapacity(ctx)
}

// declared is a handle that declares what the process with the latest grant does.
func (m *Manager) declared(ctx context.Context, name string) (*Semaphore, error) {
	s, err := m.named(name)
	if err != nil {
		return nil, err
	}
	all, err := m.Summaries(ctx, name)
	if err != nil {
		return nil, err
	}
	s.keys = scripts.KeysOf(m.prefix, name, minTTL, max(all[0].OtherDeclared, 1))
	return s, nil
}

// Revoke is Semaphore.Revoke by name.
func (m *Manager) Revoke(ctx context.Context, name, id string) error {
	s, err := m.named(name)
	if err != nil {
		return err
	}
	return s.Revoke(ctx, id)
}

// Resize sets the capacity for the whole fleet, whatever the processes declare: each follows at its next
// call. It lasts until ResetCapacity, through deploys and restarts. What it makes room for goes to
// those who wait, at once; it takes nothing away: a capacity that shrinks is reached as holders release.
// Requests that are heavier than n are refused. Zero stops the fleet as Pause does, but Resume does not know what was before.
func (s *Semaphore) Resize(ctx context.Context, n int, opts ...ChangeOption) error {
	if n < 0 || n > maxCapacity {
		return &OptionError{"capacity", n, fmt.Sprintf("must be from 0 to %d; 0 pauses", maxCapacity)}
	}
	if s.made() == nil && s.cfg.Slots && n > maxSlots {
		return &OptionError{"capacity", n, fmt.Sprintf("must be at most %d with Slots", maxSlots)}
	}
	reason, err := reasonOf(opts)
	if err != nil {
		return err
	}
	return s.resize(ctx, func() []any { return scripts.ResizeArguments(n, s.manager.owner, reason) })
}

// Pause stops the fleet from taking new permits, until Resume, Resize or ResetCapacity. Who holds one keeps it;
// who waits goes on waiting.
func (s *Semaphore) Pause(ctx context.Context, opts ...ChangeOption) error {
	reason, err := reasonOf(opts)
	if err != nil {
		return err
	}
	return s.resize(ctx, func() []any { return scripts.PauseArguments(s.manager.owner, reason) })
}

// Resume ends a Pause: the capacity is again what it was before, by an earlier Resize or as processes declare it. Where
// nothing is paused it changes nothing.
func (s *Semaphore) Resume(ctx context.Context) error {
	return s.resize(ctx, func() []any { return scripts.ResumeArguments(s.manager.owner) })
}

// ResetCapacity removes what Resize and Pause have set: the capacity that processes declare counts again.
func (s *Semaphore) ResetCapacity(ctx context.Context) error {
	return s.resize(ctx, scripts.ResetArguments)
}

// A ChangeOption says more of what an operator changes.
type ChangeOption func(*changeOptions)

type changeOptions struct{ reason string }

// Reason says why, for whoever looks later: Inspect shows it. 200 bytes at most.
func Reason(text string) ChangeOption { return func(o *changeOptions) { o.reason = text } }

func reasonOf(opts []ChangeOption) (string, error) {
	var o changeOptions
	for _, opt := range opts {
		if opt == nil {
			return "", &OptionError{"option", "nil", "leave it out"}
		}
		opt(&o)
	}
	if len(o.reason) > 200 || !utf8.ValidString(o.reason) || strings.ContainsFunc(o.reason, unicode.IsControl) {
		return "", &OptionError{"reason", o.reason, "at most 200 bytes of UTF-8 without control characters"}
	}
	return o.reason, nil
}

func (s *Semaphore) resize(ctx context.Context, arguments func() []any) error {
	if err := s.made(); err != nil {
		return err
	}
	for {
		status := scripts.Status(0)
		err := s.run(ctx, scripts.Resize, func(reply []any) (err error) {
			status, err = scripts.ResizeReply(reply)
			return err
		}, arguments()...)
		if err != nil || !status.Has(scripts.More) {
			return err
		}
		arguments = scripts.PromoteArguments // not the change again: somebody may have made another meanwhile
	}
}

// Revoke takes the permit with the given id away from its holder, whose contexts end with a *LostError
// (LossRevoked): at once if this process holds it or a notification reaches the holder, otherwise at its next
// renewal. Nobody else gets the permit before the holder has released it or its time is up.
//
// Inspect lists the ids. ErrUnknownID: nobody holds it, perhaps no more. Revoking it again does nothing.
func (s *Semaphore) Revoke(ctx context.Context, id string) error {
	if id == "" {
		return &OptionError{"id", id, "pass the id of a holder, as Inspect lists it"}
	}
	id, _ = grantOf(id) // who looks into Redis sees members: one of them must not be revoked alone
	if !validWeight(id) {
		return fmt.Errorf("%w: %q is no id of this library's", ErrUnknownID, id)
	}
	var outcome scripts.Revocation
	err := s.run(ctx, scripts.Revoke, func(reply []any) (err error) {
		outcome, err = scripts.RevokeReply(reply)
		return err
	}, scripts.RevokeArguments(id)...)
	if err != nil {
		return err
	}
	switch outcome {
	case scripts.NotHeld:
		return fmt.Errorf("%w: nobody holds %q in semaphore %q", ErrUnknownID, id, s.cfg.Name)
	case scripts.OnlyWaits:
		return fmt.Errorf("%w: %q waits in semaphore %q and holds nothing", ErrUnknownID, id, s.cfg.Name)
	}
	s.manager.notified(s.cfg.Name, protocol.Notification{Kind: protocol.Withdrawn, ID: id}) // it may be this process's own, which need not listen
	return nil
}

// run executes one of the scripts for people, and has read read its reply.
func (s *Semaphore) run(ctx context.Context, v scripts.Verb, read func(reply []any) error, args ...any) error {
	if err := s.made(); err != nil {
		return err
	}
	m := s.manager
	if m.isClosed() {
		return ErrClosed
	}
	reply, err := m.transport.Script(ctx, s.keys, v, args...)
	if err == nil {
		err = read(reply)
	}
	if err != nil {
		return &RedisError{Op: v.String(), Name: s.cfg.Name, Err: err}
	}
	return nil
}
