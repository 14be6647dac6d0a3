//go:build unix

package leaseotel_test

import (
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"

	"github.com/eqworks/passbuddy/extra/leaseotel"
	"github.com/eqworks/passbuddy/internal/telemetry/telemetrytest"
	"github.com/eqworks/passbuddy/lease"
)

func BenchmarkTracer(b *testing.B) {
	telemetrytest.Bench(b, map[string]func() []lease.Tracer{
		"without": func() []lease.Tracer { return nil },
		"metrics": func() []lease.Tracer {
			tracer, _ := metered(b, leaseotel.Options{})
			return []lease.Tracer{tracer}
		},
		"metrics and every span": func() []lease.Tracer {
			tracer, _ := metered(b, leaseotel.Options{TracerProvider: sdktrace.NewTracerProvider()})
			return []lease.Tracer{tracer}
		},
	})
}
