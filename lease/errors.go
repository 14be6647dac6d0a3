package lease

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/internal/transport"
)

// One sentinel for each meaning. The errors that are returned carry facts; errors.Is finds the
// sentinel in them, errors.As the type, and both go on to the client's own error.
var (
	// ErrAtCapacity: every permit is taken, and the wait that was asked for is over.
	ErrAtCapacity = errors.New("lease: at capacity")
	// ErrLost: the permit can no longer be trusted. Somebody else may have it soon.
	ErrLost = errors.New("lease: lost")
	// ErrReleased: the holder called Release.
	ErrReleased = errors.New("lease: released")
	// ErrMaxHold: the lease was held for longer than MaxHold.
	ErrMaxHold = errors.New("lease: held for longer than MaxHold")
	// ErrClosed: the manager was shut down or closed.
	ErrClosed = errors.New("lease: manager closed")
	// ErrAbandoned: the lease was garbage collected before it was released.
	ErrAbandoned = errors.New("lease: abandoned without Release")
	// ErrUnknownID: nobody holds a permit under that id.
	ErrUnknownID = errors.New("lease: no such permit")
	// ErrNoLease: there is no lease: the *Lease is nil, as FromContext returns it where a context has none.
	ErrNoLease = errors.New("lease: no lease")
	// ErrDeadlock: the caller holds permits of the semaphore itself, and all together can never be free.
	ErrDeadlock = errors.New("lease: deadlock")
	// ErrDisagreement: Config.Strict is set, and another process declares other limits.
	ErrDisagreement = errors.New("lease: processes disagree")
	// ErrOption: an option has a value that cannot work.
	ErrOption = errors.New("lease: bad option")
)

// errUnanswered is what people see of errNoReply.
var errUnanswered = fmt.Errorf("no reply in time: %w", os.ErrDeadlineExceeded)

// public is the error that people see of what an attempt met.
func public(trouble error) error {
	if trouble == protocol.ErrNoReply {
		return errUnanswered
	}
	if missing, is := trouble.(*protocol.Unacknowledged); is {
		return &ReplicaError{Wanted: missing.Wanted, Acknowledged: missing.Acknowledged, Connected: missing.Connected, Within: missing.Within}
	}
	return trouble
}

// An OptionError names an option and the value that was refused. It is an ErrOption.
type OptionError struct {
	Option  string // such as "Config.TTL"
	Value   any
	Problem string // what is wrong with it, and what would do
}

func (e *OptionError) Error() string {
	if s, ok := e.Value.(string); ok {
		return fmt.Sprintf("lease: %s = %q: %s", e.Option, cut(s), e.Problem)
	}
	return fmt.Sprintf("lease: %s = %v: %s", e.Option, e.Value, e.Problem)
}

// cut shortens what is quoted in an error.
func cut(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

func (e *OptionError) Is(target error) bool { return target == ErrOption }

// A CapacityError says how full a semaphore was when it last refused. It is an ErrAtCapacity.
type CapacityError struct {
	Name       string
	Weight     int           // permits that were asked for
	Capacity   int           // in force; 0: an operator has paused the semaphore
	Held       int           // permits taken, by everybody
	Waiting    int           // other requests that wait, in this process and in the shared queue
	RetryAfter time.Duration // when it is worth asking again, at the earliest
}

func (e *CapacityError) Error() string {
	if e.Capacity == 0 {
		return fmt.Sprintf("lease: semaphore %q is paused: %d permits held, %d requests wait; try again in %v",
			e.Name, e.Held, e.Waiting, e.RetryAfter.Round(time.Millisecond))
	}
	return fmt.Sprintf("lease: semaphore %q is at capacity: %d wanted, %d of %d permits held, %d requests wait; try again in %v",
		e.Name, e.Weight, e.Held, e.Capacity, e.Waiting, e.RetryAfter.Round(time.Millisecond))
}

func (e *CapacityError) Is(target error) bool { return target == ErrAtCapacity }

// A DeadlockError says that a caller waits for itself: the leases that its context belongs to hold so many permits of
// the semaphore that the rest of the capacity can never be enough. It is an ErrDeadlock.
type DeadlockError struct {
	Name     string
	Weight   int // permits that were asked for
	Held     int // by the leases of the context
	Capacity int // in force
}

func (e *DeadlockError) Error() string {
	return fmt.Sprintf("lease: deadlock on semaphore %q: %d wanted by a context whose leases hold %d of its %d permits already; release them first, or ask for all at once with Weight",
		e.Name, e.Weight, e.Held, e.Capacity)
}

func (e *DeadlockError) Is(target error) bool { return target == ErrDeadlock }

// A DisagreementError says what another process declares, of which a lease is held or a request waits. Config.Strict asks
// for it. It is an ErrDisagreement.
type DisagreementError struct {
	Name          string
	Capacity      int // that the failed call's Config declares
	TTL           time.Duration
	OtherCapacity int // that of the other
	OtherTTL      time.Duration
}

func (e *DisagreementError) Error() string {
	return fmt.Sprintf("lease: semaphore %q: this Config declares capacity %d and TTL %v, another that is in use capacity %d and TTL %v; have all processes declare the same, or set the capacity for all with Resize",
		e.Name, e.Capacity, e.TTL, e.OtherCapacity, e.OtherTTL)
}

func (e *DisagreementError) Is(target error) bool { return target == ErrDisagreement }

// A LossReason says how a lease was lost.
type LossReason uint8

const (
	// LossExpired: no renewal succeeded before the trust window ended.
	LossExpired LossReason = iota
	// LossRemoved: Redis no longer has the permit: it was removed, or the data is gone.
	LossRemoved
	// LossRevoked: somebody took the permit away, with Semaphore.Revoke.
	LossRevoked
)

func (r LossReason) String() string {
	switch r {
	case LossRemoved:
		return "removed from Redis"
	case LossRevoked:
		return "revoked"
	}
	return "trust window ended without a renewal"
}

// A LostError says which lease was lost, and why. It is an ErrLost.
type LostError struct {
	Name   string
	ID     string
	Token  int64
	Reason LossReason
	Err    error // why the latest attempt to renew failed; nil if none did
}

func (e *LostError) Error() string {
	s := fmt.Sprintf("lease: lost permit %s of semaphore %q: %v", e.ID, e.Name, e.Reason)
	if e.Err != nil {
		s += ": " + hinted(e.Err)
	}
	return s
}

func (e *LostError) Is(target error) bool { return target == ErrLost }
func (e *LostError) Unwrap() error        { return e.Err }

// A HoldError says which lease was held for too long. It is an ErrMaxHold.
type HoldError struct {
	Name    string
	ID      string
	Token   int64
	MaxHold time.Duration
}

func (e *HoldError) Error() string {
	return fmt.Sprintf("lease: permit %s of semaphore %q was held for longer than MaxHold (%v); it is no longer renewed",
		e.ID, e.Name, e.MaxHold)
}

func (e *HoldError) Is(target error) bool { return target == ErrMaxHold }

// errorOf is what r says of h's lease; nil: nothing. Why the lease ended is the same error each time.
func (h *hold) errorOf(r *protocol.Reason) error {
	if r == nil {
		return nil
	}
	name, g := h.semaphore.cfg.Name, h.Grant
	lost := func(why LossReason) error {
		return &LostError{Name: name, ID: g.ID, Token: h.Token, Reason: why, Err: public(r.Trouble)}
	}
	var err error
	switch r.Kind {
	case protocol.Expired:
		err = lost(LossExpired)
	case protocol.Removed:
		err = lost(LossRemoved)
	case protocol.Revoked:
		err = lost(LossRevoked)
	case protocol.HeldTooLong:
		err = &HoldError{Name: name, ID: g.ID, Token: h.Token, MaxHold: h.MaxHold}
	case protocol.Abandoned:
		return ErrAbandoned
	case protocol.Unanswered:
		return &RedisError{Op: "release", Name: name, Err: public(r.Trouble)}
	default:
		return ErrClosed
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lost == nil {
		h.lost = err
	}
	return h.lost
}

// A RedisError is all that comes from Redis or the way to it. It unwraps to the client's error.
type RedisError struct {
	Op   string // acquire, renew, release, inspect, summarize, resize, revoke, names, ping
	Name string // of the semaphore
	Err  error
}

func (e *RedisError) Error() string {
	return fmt.Sprintf("lease: %s %q: %s", e.Op, e.Name, hinted(e.Err))
}

func (e *RedisError) Unwrap() error { return e.Err }

// A ReplicaError says that fewer replicas than Config.MinReplicas have acknowledged a grant or a renewal in time. It is wrapped
// in a *RedisError (an acquire that failed) or in a *LostError (a lease that ended).
type ReplicaError struct {
	Wanted       int // Config.MinReplicas
	Acknowledged int
	Connected    int // how many replicas the server has; negative: it did not say
	Within       time.Duration
}

func (e *ReplicaError) Error() string {
	s := fmt.Sprintf("%d of %d replicas acknowledged the write within %v", e.Acknowledged, e.Wanted, e.Within)
	switch {
	case e.Connected < 0:
	case e.Connected < e.Wanted:
		s += fmt.Sprintf("; the server has %d: have as many as MinReplicas, or set that to less", e.Connected)
	default:
		s += fmt.Sprintf("; the server has %d: see why they lag behind", e.Connected)
	}
	return s
}

// hinted is the text of an error of Redis or of the way to it, with what to do where that is known.
func hinted(err error) string {
	if h := hint(err); h != "" {
		return err.Error() + " (" + h + ")"
	}
	return err.Error()
}

// hint says what to do about an error of Redis or of the way to it, where that is known.
func hint(err error) string {
	for _, h := range hints {
		if h.of(err) {
			return h.do
		}
	}
	return ""
}

// hints are what to do about which errors; the first that fits counts. docs/operations.md has them all.
var hints = []struct {
	of func(error) bool
	do string
}{
	// First: the message may have the user's name, which can be any.
	{transport.IsDenied, "the Redis user lacks a permission: docs/operations.md lists what is needed"},
	{saying("WRONGTYPE"), "the semaphore's key holds something else: choose another Name or Prefix"},
	{saying("WRONGPASS"), "check the user name and the password"},
	// To a command that is long, as a script is, a server says the second before it has checked the password.
	{saying("NOAUTH", "unauthenticated"), "the server wants a password: set it in the URL or in the client's options"},
	{saying("DB index is out of range", "invalid DB index"), "the server has fewer databases: choose another number, or none"},
	{saying("READONLY"), "the server is a replica, or was the master before a failover: connect to the master, or through Sentinel"},
	{saying("OOM "), "the server's memory is full: raise maxmemory, or take something out; releases and renewals go on meanwhile"},
	{saying("MISCONF"), "the server cannot save its data and refuses writes: its log says why"},
	{func(err error) bool {
		return errors.Is(err, redis.ErrPoolTimeout) || errors.Is(err, redis.ErrPoolExhausted)
	},
		"all connections of the client are in use: give the manager a client of its own, as Open does"},
	{func(err error) bool { return isOldRedis(err.Error()) }, "Redis 6.2 or newer is needed"},
	{saying("first record does not look like a TLS handshake"), "the port does not speak TLS: use redis:// in place of rediss://"},
	{saying("certificate"), "the client does not trust the server's certificate: set TLSConfig, or use the name that the certificate has"},
	{saying("can't parse", "invalid reply", "HTTP/1."), "what answers there is no Redis: check the host and the port"},
	{func(err error) bool { return errors.Is(err, io.EOF) },
		"the server closed the connection: if its port speaks TLS, use rediss://"},
	{func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }, "nothing listens there: check the host and the port, and that the server runs"},
	{transport.IsTimeout, "nothing answered in time: check the address, the network and the server's load, and whether the port speaks TLS"},
}

// saying finds an error by one of the words in its text. Redis and Valkey give most of them a code, and go-redis passes
// on the text alone.
func saying(words ...string) func(error) bool {
	return func(err error) bool {
		msg := err.Error()
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(msg, w) })
	}
}

// isOldRedis recognises what servers before 6.2 say to ZMSCORE and to ZADD GT.
func isOldRedis(msg string) bool {
	lower := strings.ToLower(msg)
	return strings.Contains(lower, "unknown redis command") || strings.Contains(lower, "unknown command") ||
		strings.Contains(lower, "syntax error") && !strings.Contains(lower, "compiling script")
}
