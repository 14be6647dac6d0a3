// Command service is an HTTP API with a limit for each tenant, as a team would run it: a Redis client of its own, JSON logs,
// metrics and traces, readiness, and a shutdown that lets requests finish and gives their permits back. It is meant to be
// copied.
//
//	cd examples/service
//	go run . -demo                                        # on an embedded Redis: some requests, what they got, a drain
//	REDIS_URL=redis://localhost:6379 go run . -listen :8080
//	curl -H 'X-Tenant: acme' localhost:8080/v1/report
//
// Spans go to where OTEL_EXPORTER_OTLP_ENDPOINT says; without it there are none.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/extra/leaseotel"
	"github.com/eqworks/passbuddy/lease"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:8080", "address to listen on")
	demo := flag.Bool("demo", false, "send a few requests to itself, print what they got, and end")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, *listen, *demo, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "service:", err)
		os.Exit(1)
	}
}

// drain is for how long requests may finish after SIGTERM. Kubernetes' terminationGracePeriodSeconds must be longer.
const drain = 20 * time.Second

func run(ctx context.Context, listen string, demo bool, out io.Writer) (err error) {
	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	telemetry, err := startTelemetry(ctx)
	if err != nil {
		return err
	}
	defer telemetry.stop(log)

	url := os.Getenv("REDIS_URL")
	if url == "" {
		server, err := miniredis.Run()
		if err != nil {
			return err
		}
		defer server.Close()
		url = "redis://" + server.Addr()
		log.Warn("REDIS_URL is not set: this process has a Redis of its own, and limits nobody else")
	}
	options, err := redis.ParseURL(url)
	if err != nil {
		return fmt.Errorf("REDIS_URL: %w", err)
	}
	// The manager's own client: renewals never wait for a connection that the rest of the service uses.
	options.ContextTimeoutEnabled = true
	options.PoolSize = 8
	client := redis.NewClient(options)
	defer client.Close()
	tracer, err := leaseotel.New(leaseotel.Options{MeterProvider: telemetry.meters, TracerProvider: telemetry.tracers, Names: boundedName})
	if err != nil {
		return err
	}
	manager, err := lease.New(client, lease.Options{Logger: log, Tracers: []lease.Tracer{tracer}})
	if err != nil {
		return err
	}
	defer manager.Close()

	s := &service{manager: manager, log: log, report: makeReport}
	server := &http.Server{Handler: s.routes(telemetry.metrics), ReadHeaderTimeout: 5 * time.Second}
	listener, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	log.Info("listening", "address", listener.Addr().String())
	if demo {
		go func() {
			served <- visit(ctx, "http://"+listener.Addr().String(), out)
		}()
	}
	select {
	case <-ctx.Done():
	case err = <-served:
	}
	return errors.Join(err, s.shutdown(server))
}
