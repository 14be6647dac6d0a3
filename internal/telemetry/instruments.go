// Package telemetry is what the OpenTelemetry tracer (extra/leaseotel) and the Prometheus tracer (extra/leaseprom) have in
// common: the names, units and buckets of the instruments, the values of their attributes, the bound on the names of
// semaphores, and how the fleet is looked at.
package telemetry

import "strings"

// The attributes. All but the name of a semaphore have a few values.
const (
	Semaphore = "passbuddy.semaphore"
	Outcome   = "passbuddy.outcome"
	End       = "passbuddy.end"
	Reason    = "passbuddy.reason"
	ErrorType = "error.type"
)

// A Kind is how the values of an instrument add up.
type Kind uint8

const (
	Histogram Kind = iota
	UpDown
	Counter
	Gauge
)

// An Instrument is one that both tracers have.
type Instrument struct {
	Name    string
	Kind    Kind
	Unit    string
	Help    string
	Buckets []float64 // of a Histogram
}

// PrometheusName is the name that OpenTelemetry's translation UnderscoreEscapingWithSuffixes makes of i.Name.
func (i *Instrument) PrometheusName() string {
	name := LabelOf(i.Name)
	if i.Unit == "s" {
		name += "_seconds"
	}
	if i.Kind == Counter {
		name += "_total"
	}
	return name
}

// LabelOf is the label that the translation makes of an attribute.
func LabelOf(attribute string) string { return strings.ReplaceAll(attribute, ".", "_") }

// What this process does. A tracer counts it, for each semaphore.
var (
	AcquireDuration = &Instrument{"passbuddy.acquire.duration", Histogram, "s", "How long acquires took, by how they ended.",
		[]float64{.0005, .001, .005, .01, .05, .1, .5, 1, 5, 10, 30, 60, 300}}
	LeaseDuration = &Instrument{"passbuddy.lease.duration", Histogram, "s", "How long leases were held, by how they ended.",
		[]float64{.01, .1, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400}}
	RenewalSlack = &Instrument{"passbuddy.renewal.slack", Histogram, "1", "Which share of the shortest trust window was left when a renewal was answered.",
		[]float64{.05, .1, .2, .3, .4, .5, .6, .65, .7}}

	LeaseCount  = &Instrument{"passbuddy.lease.count", UpDown, "{lease}", "Leases that this process has.", nil}
	PermitUsage = &Instrument{"passbuddy.permit.usage", UpDown, "{permit}", "Permits that these leases have.", nil}
	WaiterCount = &Instrument{"passbuddy.waiter.count", UpDown, "{waiter}", "Callers of this process that acquire.", nil}

	RenewalFailures  = &Instrument{"passbuddy.renewal.failures", Counter, "{failure}", "Attempts to renew leases that failed; they are repeated.", nil}
	ReleaseFailures  = &Instrument{"passbuddy.release.failures", Counter, "{failure}", "Releases that Redis did not confirm in time.", nil}
	LeaseLosses      = &Instrument{"passbuddy.lease.losses", Counter, "{lease}", "Leases that were lost.", nil}
	Disagreements    = &Instrument{"passbuddy.disagreements", Counter, "{answer}", "Answers of Redis that say that another process declares another capacity or TTL.", nil}
	TelemetryDropped = &Instrument{"passbuddy.telemetry.dropped", Counter, "{call}", "Calls that the tracer was not told because it was slow.", nil}
)

// What Redis says of the whole fleet. A collector asks it, for chosen semaphores.
var (
	FleetUp               = &Instrument{"passbuddy.fleet.up", Gauge, "", "1: Redis has answered for this semaphore; 0: it has not, and nothing else is known.", nil}
	FleetPermitLimit      = &Instrument{"passbuddy.fleet.permit.limit", Gauge, "{permit}", "The capacity in force.", nil}
	FleetPermitUsage      = &Instrument{"passbuddy.fleet.permit.usage", Gauge, "{permit}", "Permits that count against the capacity.", nil}
	FleetWaiterCount      = &Instrument{"passbuddy.fleet.waiter.count", Gauge, "{waiter}", "Callers that wait, in all processes.", nil}
	FleetWaiterOldest     = &Instrument{"passbuddy.fleet.waiter.oldest_age", Gauge, "s", "For how long the first of the queue whose process lives has waited; 0: nobody waits.", nil}
	FleetWaiterFirst      = &Instrument{"passbuddy.fleet.waiter.first_weight", Gauge, "{permit}", "How many permits the first of the queue whose process lives wants; 0: nobody waits.", nil}
	FleetPaused           = &Instrument{"passbuddy.fleet.paused", Gauge, "", "1: an operator has paused the semaphore.", nil}
	FleetDisagreement     = &Instrument{"passbuddy.fleet.disagreement", Gauge, "", "1: the process with the latest grant declares another capacity or TTL than this one.", nil}
	FleetHolderCount      = &Instrument{"passbuddy.fleet.holder.count", Gauge, "{lease}", "Leases, in all processes.", nil}
	FleetHolderOldest     = &Instrument{"passbuddy.fleet.holder.oldest_age", Gauge, "s", "How long ago the oldest permit that is held was asked for, by its holder's clock; 0: none is held.", nil}
	FleetInstruments      = []*Instrument{FleetUp, FleetPermitLimit, FleetPermitUsage, FleetWaiterCount, FleetWaiterOldest, FleetWaiterFirst, FleetPaused, FleetDisagreement, FleetHolderCount, FleetHolderOldest}
	allProcessInstruments = []*Instrument{AcquireDuration, LeaseDuration, RenewalSlack, LeaseCount, PermitUsage, WaiterCount, RenewalFailures, ReleaseFailures, LeaseLosses, Disagreements, TelemetryDropped}
)

// Instruments are all.
func Instruments() []*Instrument {
	return append(allProcessInstruments[:len(allProcessInstruments):len(allProcessInstruments)], FleetInstruments...)
}
