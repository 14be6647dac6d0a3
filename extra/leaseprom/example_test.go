package leaseprom_test

import (
	"context"
	"log"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/eqworks/passbuddy/extra/leaseprom"
	"github.com/eqworks/passbuddy/lease"
)

// A worker with its own metrics, and those of the fleet, on /metrics.
func Example() {
	tracer := leaseprom.New(leaseprom.Options{}) // or leaseotel.New, for OpenTelemetry and its spans
	m, err := lease.Open("redis://localhost:6379", lease.Options{Tracers: []lease.Tracer{tracer}})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	gpu, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 8})
	if err != nil {
		log.Fatal(err)
	}
	fleet, err := leaseprom.NewFleet(m, leaseprom.FleetOptions{Semaphores: []*lease.Semaphore{gpu}}) // of all processes
	if err != nil {
		log.Fatal(err)
	}
	prometheus.MustRegister(tracer, fleet)
	http.Handle("/metrics", promhttp.Handler())
	go func() { log.Fatal(http.ListenAndServe("localhost:9100", nil)) }()

	_ = gpu.Do(context.Background(), func(context.Context) error { return nil })
}
