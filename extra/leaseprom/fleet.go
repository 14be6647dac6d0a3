package leaseprom

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/eqworks/passbuddy/internal/telemetry"
	"github.com/eqworks/passbuddy/lease"
)

// FleetOptions say at which semaphores a Fleet looks: 1,000 at most, each once.
type FleetOptions struct {
	// Semaphores are handles of this process. Only for these there is passbuddy_fleet_disagreement: whether the process
	// with the latest grant declares another capacity or TTL than the handle.
	Semaphores []*lease.Semaphore
	// Names are further semaphores.
	Names []string
	// Holders asks for the list of holders too, one name after the other, for passbuddy_fleet_holder_count and
	// passbuddy_fleet_holder_oldest_age_seconds. It is for semaphores with few permits: Redis sends each holder and waiter.
	Holders bool
	// Timeout bounds a scrape. Two seconds by default.
	Timeout time.Duration
}

// A Fleet is a prometheus.Collector of what Redis says of all processes together. It asks once for each scrape, in one
// pipeline for 200 names, and waits for that until the timeout. One process of a fleet is enough.
//
// A semaphore that Redis has not answered for has passbuddy_fleet_up 0 and no other series. Safe for concurrent use.
type Fleet struct {
	fleet *telemetry.Fleet
	descs map[*telemetry.Instrument]*prometheus.Desc
}

// NewFleet returns a collector, which asks through m. It returns a *lease.OptionError where the options cannot work.
func NewFleet(m *lease.Manager, opts FleetOptions) (*Fleet, error) {
	fleet, err := telemetry.NewFleet(m, telemetry.FleetOptions(opts))
	if err != nil {
		return nil, err
	}
	f := &Fleet{fleet: fleet, descs: map[*telemetry.Instrument]*prometheus.Desc{}}
	for _, i := range telemetry.FleetInstruments {
		f.descs[i] = prometheus.NewDesc(i.PrometheusName(), i.Help, labels(nil), nil)
	}
	return f, nil
}

// Describe is prometheus.Collector's.
func (f *Fleet) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range f.descs {
		to <- desc
	}
}

// Collect is prometheus.Collector's.
func (f *Fleet) Collect(to chan<- prometheus.Metric) {
	for _, p := range f.fleet.Look(context.Background()) {
		to <- prometheus.MustNewConstMetric(f.descs[p.Instrument], prometheus.GaugeValue, p.Value, p.Name)
	}
}
