package leaseprom_test

import (
	"testing"

	"github.com/eqworks/passbuddy/extra/leaseprom"
	"github.com/eqworks/passbuddy/internal/telemetry/telemetrytest"
)

func TestTheMetricsAreTheTruth(t *testing.T) {
	telemetrytest.Truth(t, func() telemetrytest.Exporter {
		tracer, registry := registered(t, leaseprom.Options{})
		return telemetrytest.Exporter{Tracer: tracer, Export: func() string { return export(t, registry) }}
	})
}
