package lease

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/eqworks/passbuddy/internal/protocol"
)

// A Config describes a semaphore. Name and Capacity are required; what is zero is taken from the defaults given here.
// All processes that use a semaphore should use the same.
type Config struct {
	// Name of the semaphore; with the manager's prefix it is the Redis key. No '}'.
	Name string
	// Capacity is how many permits there are for all processes together; at least 1.
	Capacity int
	// TTL is how long a permit lives in Redis after a grant or a renewal: how long it stays taken when
	// its holder dies. Whole milliseconds, 50 ms to 24 h; 15 s by default.
	TTL time.Duration
	// Margin is how much earlier than Redis this process stops trusting a permit. It covers the drift of
	// clocks, late timers, and the moment that work needs to stop. 5 ms to TTL/6; TTL/20 by default.
	Margin time.Duration
	// RetryInterval is the longest time between two polls of a waiter; TTL/3 at most, a longer one is
	// taken as that. 500 ms by default.
	RetryInterval time.Duration
	// MaxAttempts bounds how often a waiter is refused before it gives up with ErrAtCapacity. No bound
	// by default.
	MaxAttempts int
	// MaxWait bounds how long Acquire waits before it gives up with ErrAtCapacity; negative: one attempt. No bound by
	// default.
	MaxWait time.Duration
	// MaxHold bounds how long a lease is held: then its contexts end, and it is no longer renewed. No
	// bound by default.
	MaxHold time.Duration
	// Strict has an acquire fail with ErrDisagreement while a process that declares another Capacity or TTL holds a lease, or
	// waits, as far as Redis knows: it keeps what the latest grant was declared with, until nobody holds or waits any
	// more. So a single process with another Config makes the strict ones fail for as long as that. An acquire
	// that waits is told at its next poll, unless it is served before that. A Config that this process used before counts as
	// another. An operator's Resize or Pause sets the capacity for all, and ends a disagreement. Without Strict each process
	// goes by its own Config, and a disagreement is logged.
	Strict bool
	// Handover is for how long after Redis gave a permit it may pass from one caller of this process to the next without
	// asking Redis, whoever waits elsewhere. A caller counts from its Acquire on, before Redis has answered it. 5 ms by
	// default; negative: never.
	Handover time.Duration
	// Slots gives each lease numbers of its own: as many as it weighs, from 0 to Capacity − 1, the smallest that are free.
	// No two live leases of the semaphore have the same, as long as all processes set Slots: "which of the eight GPUs is
	// mine?" Lease.Slots returns them. The Capacity is at most 1,000 then.
	Slots bool
	// MinReplicas is how many replicas must have acknowledged a grant or a renewal before this process trusts it, within half
	// of the time that an attempt has. An acquire that is not acknowledged gives the permit back and fails with a *ReplicaError;
	// a renewal that is not moves no trust window. With as many as the server has replicas, a failover to one of them gives
	// no permit away twice. Each grant and each renewal waits for the replicas: one trip between the servers. 0, the default:
	// none.
	MinReplicas int
	// Linger is for how long a released permit may stay with this process and serve its next caller of the same weight,
	// without asking Redis, as long as nobody waits elsewhere. It is for a limit on a hot path, where a process takes the
	// permit again a moment later. Up to TTL/2; 0, the default: a permit goes back at once.
	//
	// A caller in another process waits no longer than Linger and one trip to Redis for a permit that is not in use. But a
	// TryAcquire there, or a MaxWait that is shorter than that, may find that none is free although nobody works under the
	// permit: do not use Linger where such callers matter more than the trips. Inspect shows a permit that lingers as held.
	Linger time.Duration
}

// NodeConfig returns the defaults of PassBuddy for Node, as a whole Config.
func NodeConfig() Config {
	return Config{Name: "semaphore", Capacity: 10, TTL: 5 * time.Second, MaxAttempts: 5, RetryInterval: 500 * time.Millisecond}
}

const (
	minTTL    = 50 * time.Millisecond
	maxTTL    = 24 * time.Hour // what the scripts keep a key for
	minMargin = 5 * time.Millisecond

	maxKeyPart  = 512 // bytes of a name or a prefix
	maxCapacity = 1_000_000
	maxSlots    = 1000
	maxReplicas = 100
	maxLabel    = 64   // bytes
	maxWeight   = 1000 // each permit is a member in Redis, and one script adds them all
)

// complete fills in what is zero and refuses what cannot work.
func (c Config) complete() (Config, error) {
	fill := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	fill(&c.TTL, 15*time.Second)
	fill(&c.RetryInterval, 500*time.Millisecond)
	fill(&c.Handover, 5*time.Millisecond)

	bad := func(option string, value any, problem string, args ...any) (Config, error) {
		return c, &OptionError{"Config." + option, value, fmt.Sprintf(problem, args...)}
	}
	switch {
	case c.Name == "":
		return bad("Name", "", "a semaphore needs a name")
	case badInKey(c.Name) != "":
		return bad("Name", c.Name, "%s", badInKey(c.Name))
	case c.Capacity < 1:
		return bad("Capacity", c.Capacity, "must be at least 1")
	case c.Capacity > maxCapacity:
		return bad("Capacity", c.Capacity, "must be at most %d", maxCapacity)
	case c.Slots && c.Capacity > maxSlots:
		return bad("Capacity", c.Capacity, "must be at most %d with Slots", maxSlots)
	case c.TTL < minTTL || c.TTL > maxTTL:
		return bad("TTL", c.TTL, "must be from %v to %v", minTTL, maxTTL)
	case c.TTL%time.Millisecond != 0:
		return bad("TTL", c.TTL, "must be whole milliseconds: Redis keeps no more")
	case c.RetryInterval < 0:
		return bad("RetryInterval", c.RetryInterval, "must not be negative; 0 is the default")
	case c.MaxAttempts < 0:
		return bad("MaxAttempts", c.MaxAttempts, "must not be negative; 0 is no bound")
	case c.MinReplicas < 0 || c.MinReplicas > maxReplicas:
		return bad("MinReplicas", c.MinReplicas, "must be from 0 to %d", maxReplicas)
	case c.Linger < 0:
		return bad("Linger", c.Linger, "must not be negative; 0 gives permits back at once")
	case c.Linger > c.TTL/2:
		return bad("Linger", c.Linger, "must be at most TTL/2 (%v)", c.TTL/2)
	case c.MaxHold < 0:
		return bad("MaxHold", c.MaxHold, "must not be negative; 0 is no bound")
	}
	if c.Margin == 0 {
		c.Margin = max(c.TTL/20, minMargin)
	}
	if c.Margin < minMargin || c.Margin > c.TTL/6 {
		return bad("Margin", c.Margin, "must be from %v to TTL/6 (%v)", minMargin, c.TTL/6)
	}
	c.RetryInterval = min(c.RetryInterval, c.TTL/3)
	return c, nil
}

// badInKey is what is wrong with a name or a prefix, which stand in the keys; "": nothing.
func badInKey(s string) string {
	switch {
	case len(s) > maxKeyPart:
		return fmt.Sprintf("must have at most %d bytes, and has %d", maxKeyPart, len(s))
	case !utf8.ValidString(s):
		return "must be valid UTF-8"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "must not contain control characters, such as a newline"
	case strings.Contains(s, "}"):
		return "must not contain '}': the keys would not share a cluster slot"
	}
	return ""
}

// forState is the part that the protocol goes by.
func (c *Config) forState() protocol.Config {
	return protocol.Config{
		Capacity: c.Capacity, TTL: c.TTL, Margin: c.Margin, RetryInterval: c.RetryInterval, Handover: c.Handover, Linger: c.Linger, Slots: c.Slots, MinReplicas: c.MinReplicas,
	}
}
