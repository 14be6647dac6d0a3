package leaseotel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/eqworks/passbuddy/internal/telemetry"
	"github.com/eqworks/passbuddy/lease"
)

// FleetOptions say at which semaphores ObserveFleet looks: 1,000 at most, each once.
type FleetOptions struct {
	// Semaphores are handles of this process. Only for these there is passbuddy.fleet.disagreement: whether the process with
	// the latest grant declares another capacity or TTL than the handle.
	Semaphores []*lease.Semaphore
	// Names are further semaphores.
	Names []string
	// Holders asks for the list of holders too, one name after the other, for passbuddy.fleet.holder.count and
	// passbuddy.fleet.holder.oldest_age. It is for semaphores with few permits: Redis sends each holder and waiter.
	Holders bool
	// Timeout bounds a collection. Two seconds by default.
	Timeout time.Duration
	// MeterProvider is where the metrics go. otel.GetMeterProvider() by default.
	MeterProvider metric.MeterProvider
}

// ObserveFleet has gauges of what Redis says of all processes together. It asks through m once for each collection, in one
// pipeline for 200 names, and waits for that until the timeout. One process of a fleet is enough.
//
// A semaphore that Redis has not answered for has passbuddy.fleet.up 0 and no other value. The registration ends it. It
// returns a *lease.OptionError where the options cannot work.
func ObserveFleet(m *lease.Manager, opts FleetOptions) (metric.Registration, error) {
	fleet, err := telemetry.NewFleet(m, telemetry.FleetOptions{Semaphores: opts.Semaphores, Names: opts.Names, Holders: opts.Holders, Timeout: opts.Timeout})
	if err != nil {
		return nil, err
	}
	if opts.MeterProvider == nil {
		opts.MeterProvider = otel.GetMeterProvider()
	}
	meter := opts.MeterProvider.Meter(scope)
	gauges := map[*telemetry.Instrument]metric.Float64ObservableGauge{}
	var all []metric.Observable
	var refused error
	for _, i := range telemetry.FleetInstruments {
		gauge, err := meter.Float64ObservableGauge(i.Name, metric.WithUnit(i.Unit), metric.WithDescription(i.Help))
		refused = errors.Join(refused, err)
		gauges[i] = gauge
		all = append(all, gauge)
	}
	if refused != nil {
		return nil, refused
	}
	return meter.RegisterCallback(func(ctx context.Context, to metric.Observer) error {
		for _, p := range fleet.Look(ctx) {
			to.ObserveFloat64(gauges[p.Instrument], p.Value, metric.WithAttributes(attribute.String(telemetry.Semaphore, p.Name)))
		}
		return nil
	}, all...)
}
