package lease_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/alicebob/miniredis/v2"
	"golang.org/x/sync/errgroup"

	"github.com/eqworks/passbuddy/lease"
)

// redisURL is a Redis for the examples.
func redisURL() (url string, stop func()) {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	return "redis://" + server.Addr(), server.Close
}

func train(ctx context.Context) error { return ctx.Err() }

func cleanup(ctx context.Context) { fmt.Println("cleaned up under the permit:", ctx.Err() == nil) }

func run(ctx context.Context, url string) error {
	m, err := lease.Open(url, lease.Options{}) // redis://localhost:6379
	if err != nil {
		return err
	}
	defer m.Close()
	gpu, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 8}) // for the whole fleet
	if err != nil {
		return err
	}
	return gpu.Do(ctx, train, lease.MaxWait(time.Minute)) // waits for a permit, runs train, gives it back
}

func Example() {
	url, stop := redisURL()
	defer stop()
	if err := run(context.Background(), url); err != nil {
		log.Fatal(err)
	}
	fmt.Println("trained")
	// Output: trained
}

func trainAndCleanUp(ctx context.Context, gpu *lease.Semaphore) error {
	l, err := gpu.Acquire(ctx)
	if err != nil {
		return err
	}
	defer l.Release()
	err = train(l.Context())         // ends on loss, on release, and with ctx
	cleanup(l.Held())                // ends on loss and on release, not with ctx
	return errors.Join(err, l.Err()) // Err says why the lease ended; nil while it is held
}

// What has to be cleaned up is cleaned up under the permit, also when ctx has ended.
func ExampleSemaphore_Acquire() {
	url, stop := redisURL()
	defer stop()
	m, err := lease.Open(url, lease.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	gpu, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 8})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(trainAndCleanUp(context.Background(), gpu))
	// Output:
	// cleaned up under the permit: true
	// <nil>
}

// A connection pool is often busy when renewals are due: the manager gets a client of its own.
func ExampleOpen() {
	url, stop := redisURL()
	defer stop()
	m, err := lease.Open(url, lease.Options{Owner: "billing/eu-1"}) // its own client, closed by m.Close
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	if err := m.Ping(context.Background()); err != nil { // reachable, new enough, permissions
		log.Fatal(err)
	}
	fmt.Println("ready")
	// Output: ready
}

func ExampleSemaphore_Do() {
	url, stop := redisURL()
	defer stop()
	m, err := lease.Open(url, lease.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	migration, err := m.Semaphore(lease.Config{Name: "migration", Capacity: 1})
	if err != nil {
		log.Fatal(err)
	}
	err = migration.Do(context.Background(), func(ctx context.Context) error {
		// Before a step that cannot be undone:
		if !lease.FromContext(ctx).Valid() {
			return lease.FromContext(ctx).Err()
		}
		fmt.Println("migrated")
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output: migrated
}

func ExampleSemaphore_TryAcquire() {
	url, stop := redisURL()
	defer stop()
	m, err := lease.Open(url, lease.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	report, err := m.Semaphore(lease.Config{Name: "nightly-report", Capacity: 1})
	if err != nil {
		log.Fatal(err)
	}
	first, err := report.TryAcquire(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer first.Release()
	_, err = report.TryAcquire(context.Background())
	var full *lease.CapacityError
	if errors.As(err, &full) {
		fmt.Printf("%d of %d run already\n", full.Held, full.Capacity)
	}
	// Output: 1 of 1 run already
}

// An errgroup says "context canceled" when the lease is lost; the lease says why.
func ExampleLease_Context_errgroup() {
	url, stop := redisURL()
	defer stop()
	m, err := lease.Open(url, lease.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	export, err := m.Semaphore(lease.Config{Name: "export", Capacity: 2})
	if err != nil {
		log.Fatal(err)
	}
	l, err := export.Acquire(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	defer l.Release()
	g, ctx := errgroup.WithContext(l.Context())
	for range 3 {
		g.Go(func() error { return train(ctx) })
	}
	if err := g.Wait(); err != nil {
		log.Fatal(errors.Join(err, l.Err()))
	}
	fmt.Println("exported")
	// Output: exported
}

// SIGTERM cancels ctx. The work stops, the permit stays until the teardown is done.
func ExampleLease_Held() {
	url, stop := redisURL()
	defer stop()
	m, err := lease.Open(url, lease.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	db, err := m.Semaphore(lease.Config{Name: "db", Capacity: 1})
	if err != nil {
		log.Fatal(err)
	}
	ctx, terminate := context.WithCancelCause(context.Background())
	l, err := db.Acquire(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Release()
	terminate(errors.New("SIGTERM"))
	<-l.Context().Done()
	fmt.Println("stopped by", l.Err())
	if l.Held().Err() == nil {
		fmt.Println("cleaned up, still holding the permit:", l.Valid())
	}
	// Output:
	// stopped by SIGTERM
	// cleaned up, still holding the permit: true
}
