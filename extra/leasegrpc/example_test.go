package leasegrpc_test

import (
	"context"
	"log"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/eqworks/passbuddy/extra/leasegrpc"
	"github.com/eqworks/passbuddy/lease"
)

func Example() {
	m, err := lease.Open("redis://localhost:6379", lease.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	render, err := m.Semaphore(lease.Config{Name: "render", Capacity: 8})
	if err != nil {
		log.Fatal(err)
	}
	limit := leasegrpc.Options{MaxWait: time.Second}
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(leasegrpc.Unary(render, limit)),
		grpc.ChainStreamInterceptor(leasegrpc.Stream(render, limit)),
	)
	defer server.Stop()
}

// A limit for each tenant; calls without one, such as health checks, need no permit.
func ExampleUnaryBy() {
	m, err := lease.Open("redis://localhost:6379", lease.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	perTenant := leasegrpc.UnaryBy(func(ctx context.Context, method string) (*lease.Semaphore, error) {
		tenant := metadata.ValueFromIncomingContext(ctx, "tenant")
		if len(tenant) == 0 {
			return nil, nil
		}
		return m.Semaphore(lease.Config{Name: "api-" + tenant[0], Capacity: 5})
	}, leasegrpc.Options{})
	server := grpc.NewServer(grpc.ChainUnaryInterceptor(perTenant))
	defer server.Stop()
}
