//go:build unix

package leaseprom_test

import (
	"testing"

	"github.com/eqworks/passbuddy/extra/leaseprom"
	"github.com/eqworks/passbuddy/internal/telemetry/telemetrytest"
	"github.com/eqworks/passbuddy/lease"
)

func BenchmarkTracer(b *testing.B) {
	telemetrytest.Bench(b, map[string]func() []lease.Tracer{
		"without": func() []lease.Tracer { return nil },
		"leaseprom": func() []lease.Tracer {
			tracer, _ := registered(b, leaseprom.Options{})
			return []lease.Tracer{tracer}
		},
	})
}
