package telemetrytest

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/eqworks/passbuddy/internal/telemetry"
	"github.com/eqworks/passbuddy/lease"
)

// gauges are what there is now of a semaphore.
type gauges struct{ leases, permits, waiting int }

func (g gauges) plus(other gauges) gauges {
	return gauges{g.leases + other.leases, g.permits + other.permits, g.waiting + other.waiting}
}

// gotOne is the count of acquires with a lease. Their callers do not know whether it was handed over.
const gotOne = "granted, handed_over or lingered"

// counts are what the callers of a process know.
type counts struct {
	now map[string]gauges // by semaphore
	of  map[string]int    // since the beginning
}

func newCounts() *counts { return &counts{now: map[string]gauges{}, of: map[string]int{}} }

func (c *counts) change(name string, by gauges) { c.now[name] = c.now[name].plus(by) }

func (c *counts) add(other *counts) {
	for of, n := range other.of {
		c.of[of] += n
	}
}

func (c *counts) String() string {
	var all []string
	for _, of := range slices.Sorted(maps.Keys(c.of)) {
		all = append(all, fmt.Sprintf("%s: %d", of, c.of[of]))
	}
	return strings.Join(all, "; ")
}

// ended counts a lease that was released, or had ended before.
func (c *counts) ended(l *held) {
	c.change(l.Name(), gauges{leases: -1, permits: -l.weight})
	var lost *lease.LostError
	switch err := l.Err(); {
	case errors.Is(err, lease.ErrReleased):
		c.of["released"]++
	case errors.Is(err, lease.ErrMaxHold):
		c.of["max_hold"]++
	case errors.Is(err, lease.ErrClosed):
		c.of["closed lease"]++
	case errors.As(err, &lost):
		c.of["lost"]++
		c.of[telemetry.Losses[lost.Reason]]++
	}
}

// A quantity is a sum of exported series.
type quantity struct {
	name string
	sum  []string
}

// Bounds are what a quantity must be.
type bounds struct{ least, most int }

// series are what is exported of all that c knows.
func (c *counts) series() iter.Seq2[quantity, bounds] {
	return func(yield func(quantity, bounds) bool) {
		exact := func(name string, want int, sum ...string) bool { return yield(quantity{name, sum}, bounds{want, want}) }
		for name, g := range c.now {
			self := fmt.Sprintf(`{passbuddy_semaphore=%q}`, name)
			if !exact("leases of "+name, g.leases, "passbuddy_lease_count"+self) ||
				!exact("permits of "+name, g.permits, "passbuddy_permit_usage"+self) ||
				!exact("callers that wait for "+name, g.waiting, "passbuddy_waiter_count"+self) ||
				!exact("calls that were dropped of "+name, 0, "passbuddy_telemetry_dropped_total"+self) {
				return
			}
		}
		count := func(name, of string, series func(semaphore, value string) string, values ...string) bool {
			var sum []string
			for semaphore := range c.now {
				for _, value := range values {
					sum = append(sum, series(semaphore, value))
				}
			}
			return exact(name, c.of[of], sum...)
		}
		acquires := func(semaphore, outcome string) string {
			return fmt.Sprintf(`passbuddy_acquire_duration_seconds_count{passbuddy_outcome=%q,passbuddy_semaphore=%q}`, outcome, semaphore)
		}
		failed := func(semaphore, kind string) string {
			return fmt.Sprintf(`passbuddy_acquire_duration_seconds_count{error_type=%q,passbuddy_outcome="failed",passbuddy_semaphore=%q}`, kind, semaphore)
		}
		ends := func(semaphore, end string) string {
			return fmt.Sprintf(`passbuddy_lease_duration_seconds_count{passbuddy_end=%q,passbuddy_semaphore=%q}`, end, semaphore)
		}
		losses := func(semaphore, reason string) string {
			return fmt.Sprintf(`passbuddy_lease_losses_total{passbuddy_reason=%q,passbuddy_semaphore=%q}`, reason, semaphore)
		}
		releases := func(semaphore, kind string) string {
			return fmt.Sprintf(`passbuddy_release_failures_total{error_type=%q,passbuddy_semaphore=%q}`, kind, semaphore)
		}
		if !count("acquires with a lease", gotOne, acquires, "granted", "handed_over", "lingered") ||
			!count("acquires at capacity", "at_capacity", acquires, "at_capacity") ||
			!count("canceled acquires", "canceled", acquires, "canceled") ||
			!count("closed acquires", "closed", acquires, "closed") ||
			!count("failed acquires", "failed", failed, append(telemetry.RedisErrorTypes[:], telemetry.Deadlock, telemetry.Disagreement)...) ||
			!count("released leases", "released", ends, "released") ||
			!count("lost leases", "lost", ends, "lost") ||
			!count("leases over MaxHold", "max_hold", ends, "max_hold") ||
			!count("closed leases", "closed lease", ends, "closed") ||
			!count("abandoned leases", "abandoned", ends, "abandoned") {
			return
		}
		for _, reason := range telemetry.Losses {
			if !count("leases "+reason, reason, losses, reason) {
				return
			}
		}
		var unconfirmed []string
		for semaphore := range c.now {
			for _, kind := range telemetry.RedisErrorTypes {
				unconfirmed = append(unconfirmed, releases(semaphore, kind))
			}
		}
		// Of those that nobody waited for, no caller knows.
		yield(quantity{"releases that failed", unconfirmed}, bounds{c.of["release failed"], c.of["release failed"] + c.of["async"]})
	}
}
