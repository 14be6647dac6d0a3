package leaseotel_test

import (
	"testing"

	"github.com/eqworks/passbuddy/extra/leaseotel"
	"github.com/eqworks/passbuddy/internal/telemetry/telemetrytest"
)

func TestTheMetricsAreTheTruth(t *testing.T) {
	telemetrytest.Truth(t, func() telemetrytest.Exporter {
		tracer, registry := metered(t, leaseotel.Options{})
		return telemetrytest.Exporter{Tracer: tracer, Export: func() string { return export(t, registry) }}
	})
}
