package leaseotel_test

import (
	"bytes"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/otlptranslator"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"

	"github.com/eqworks/passbuddy/extra/leaseotel"
	"github.com/eqworks/passbuddy/internal/telemetry/telemetrytest"
)

const golden = "../../internal/telemetry/telemetrytest/testdata/"

// export is what a scrape reads.
func export(t testing.TB, from prometheus.Gatherer) string {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&text, f); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

// exported is a meter provider and the Prometheus registry that its metrics are in.
func exported(t testing.TB) (metric.MeterProvider, *prometheus.Registry) {
	t.Helper()
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry), exporter.WithoutScopeInfo(),
		exporter.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes))
	if err != nil {
		t.Fatal(err)
	}
	return sdk.NewMeterProvider(sdk.WithReader(reader)), registry
}

// metered is a tracer, and where its metrics are.
func metered(t testing.TB, opts leaseotel.Options) (*leaseotel.Tracer, *prometheus.Registry) {
	t.Helper()
	provider, registry := exported(t)
	opts.MeterProvider = provider
	tracer, err := leaseotel.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	return tracer, registry
}

// The test of leaseprom reads the same file.
func TestExportedAreTheSameSeriesAsThroughPrometheus(t *testing.T) {
	tracer, registry := metered(t, leaseotel.Options{})
	telemetrytest.Play(tracer)
	telemetrytest.MustExport(t, export(t, registry), golden+"exported.txt")
}

func TestTheFleetIsTheSameAsThroughPrometheus(t *testing.T) {
	fleet := telemetrytest.NewFleet(t)
	provider, registry := exported(t)
	observed, err := leaseotel.ObserveFleet(fleet.Manager, leaseotel.FleetOptions{Semaphores: fleet.Semaphores, Names: []string{"idle", "gpu"}, Holders: true, MeterProvider: provider})
	if err != nil {
		t.Fatal(err)
	}
	telemetrytest.MustExport(t, export(t, registry), golden+"fleet.txt")
	fleet.Server.Kill()
	telemetrytest.MustExport(t, export(t, registry), golden+"fleet_away.txt")
	if err := observed.Unregister(); err != nil {
		t.Fatal(err)
	}
}
