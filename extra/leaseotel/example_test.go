package leaseotel_test

import (
	"context"
	"log"

	"github.com/prometheus/otlptranslator"
	"go.opentelemetry.io/otel"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	"github.com/eqworks/passbuddy/extra/leaseotel"
	"github.com/eqworks/passbuddy/lease"
)

// A program that exports to Prometheus. Traces come from the TracerProvider that it has set.
func Example() {
	reader, err := exporter.New(exporter.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes))
	if err != nil {
		log.Fatal(err)
	}
	otel.SetMeterProvider(sdk.NewMeterProvider(sdk.WithReader(reader)))

	tracer, err := leaseotel.New(leaseotel.Options{})
	if err != nil {
		log.Fatal(err)
	}
	m, err := lease.Open("redis://localhost:6379", lease.Options{Tracers: []lease.Tracer{tracer}})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	gpu, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 8})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := leaseotel.ObserveFleet(m, leaseotel.FleetOptions{Semaphores: []*lease.Semaphore{gpu}}); err != nil {
		log.Fatal(err)
	}
	_ = gpu.Do(context.Background(), func(context.Context) error { return nil })
}
