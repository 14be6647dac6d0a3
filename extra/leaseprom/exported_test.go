package leaseprom_test

import (
	"bytes"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/eqworks/passbuddy/extra/leaseprom"
	"github.com/eqworks/passbuddy/internal/telemetry/telemetrytest"
)

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

// registered is a tracer and the registry that it is in.
func registered(t testing.TB, opts leaseprom.Options) (*leaseprom.Tracer, *prometheus.Registry) {
	t.Helper()
	tracer, registry := leaseprom.New(opts), prometheus.NewPedanticRegistry()
	if err := registry.Register(tracer); err != nil {
		t.Fatal(err)
	}
	return tracer, registry
}

const golden = "../../internal/telemetry/telemetrytest/testdata/"

// The test of leaseotel reads the same file.
func TestExportedAreTheSameSeriesAsThroughOpenTelemetry(t *testing.T) {
	tracer, registry := registered(t, leaseprom.Options{})
	telemetrytest.Play(tracer)
	telemetrytest.MustExport(t, export(t, registry), golden+"exported.txt")
}

func TestTheFleetIsTheSameAsThroughOpenTelemetry(t *testing.T) {
	fleet := telemetrytest.NewFleet(t)
	collector, err := leaseprom.NewFleet(fleet.Manager, leaseprom.FleetOptions{Semaphores: fleet.Semaphores, Names: []string{"idle", "gpu"}, Holders: true})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(collector)
	telemetrytest.MustExport(t, export(t, registry), golden+"fleet.txt")
	fleet.Server.Kill()
	telemetrytest.MustExport(t, export(t, registry), golden+"fleet_away.txt")
}
