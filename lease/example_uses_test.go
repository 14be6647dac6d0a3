package lease_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/eqworks/passbuddy/lease"
)

// The uses of a semaphore, one example each.

// A job that all machines of a fleet start, and one of them does.
func Example_cronSingleton() {
	m, stop := newManager()
	defer stop()
	nightly := mustSemaphore(m, lease.Config{Name: "nightly-report", Capacity: 1})

	var lastRun string // in the database
	job := func(ctx context.Context) error {
		err := nightly.Do(ctx, func(ctx context.Context) error {
			if lastRun == "2030-01-01" { // another machine was quicker, and is through
				return nil
			}
			fmt.Println("reported")
			lastRun = "2030-01-01"
			return nil
		}, lease.MaxWait(-1))
		if errors.Is(err, lease.ErrAtCapacity) {
			return nil // another machine is at it
		}
		return err
	}

	var machines errgroup.Group
	for range 5 {
		machines.Go(func() error { return job(context.Background()) })
	}
	if err := machines.Wait(); err != nil {
		log.Fatal(err)
	}
	// Output: reported
}

// Workers in many processes, and never more of them at work than the semaphore has permits.
func Example_workerPoolOverAFleet() {
	m, stop := newManager()
	defer stop()
	pool := mustSemaphore(m, lease.Config{Name: "encoder", Capacity: 4})

	var working, most, done atomic.Int64
	encode := func(ctx context.Context, video int) error {
		most.Store(max(most.Load(), working.Add(1)))
		defer working.Add(-1)
		done.Add(1)
		return ctx.Err()
	}
	videos := make(chan int)
	var workers errgroup.Group
	for range 10 {
		workers.Go(func() error {
			for video := range videos {
				err := pool.Do(context.Background(), func(ctx context.Context) error { return encode(ctx, video) })
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	for video := range 50 {
		videos <- video
	}
	close(videos)
	if err := workers.Wait(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(done.Load(), "encoded, never more than 4 at a time:", most.Load() <= 4)
	// Output: 50 encoded, never more than 4 at a time: true
}

// A handle costs nothing but its memory, so each tenant can have a semaphore of its own.
func Example_perTenantLimit() {
	m, stop := newManager()
	defer stop()
	export := func(ctx context.Context, tenant string) error {
		s, err := m.Semaphore(lease.Config{Name: "export-" + tenant, Capacity: 2})
		if err != nil {
			return err
		}
		return s.Do(ctx, func(ctx context.Context) error { return ctx.Err() }, lease.MaxWait(-1))
	}

	tenants := 0
	for i := range 10_000 {
		if i%100 != 0 {
			if _, err := m.Semaphore(lease.Config{Name: fmt.Sprintf("export-%d", i), Capacity: 2}); err != nil {
				log.Fatal(err)
			}
		} else if err := export(context.Background(), fmt.Sprint(i)); err != nil {
			log.Fatal(err)
		}
		tenants++
	}
	fmt.Println(tenants, "tenants, each with a limit of its own")
	// Output: 10000 tenants, each with a limit of its own
}

// All instances of a service start at the same time; one of them migrates the database, the others wait.
func Example_migrationAtStartUp() {
	m, stop := newManager()
	defer stop()
	migration := mustSemaphore(m, lease.Config{Name: "migration", Capacity: 1})

	version := 1 // in the database
	start := func(ctx context.Context) error {
		return migration.Do(ctx, func(ctx context.Context) error {
			if version == 2 {
				return nil
			}
			// Before a step that cannot be undone:
			if l := lease.FromContext(ctx); !l.Valid() {
				return l.Err()
			}
			version = 2
			fmt.Println("migrated")
			return nil
		})
	}

	var instances errgroup.Group
	for range 3 {
		instances.Go(func() error { return start(context.Background()) })
	}
	if err := instances.Wait(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("all started")
	// Output:
	// migrated
	// all started
}

// SIGTERM ends the work. The permit stays until the teardown is done.
func Example_sigtermWithTeardown() {
	m, stop := newManager()
	defer stop()
	volume := mustSemaphore(m, lease.Config{Name: "volume", Capacity: 1})

	ctx, unnotify := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer unnotify()
	l, err := volume.Acquire(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Release()

	_ = syscall.Kill(syscall.Getpid(), syscall.SIGTERM)
	<-l.Context().Done() // the work stops
	unmount := func(ctx context.Context) error { return ctx.Err() }
	if err := unmount(l.Held()); err != nil { // ends only if the permit is lost
		log.Fatal(err)
	}
	fmt.Println("unmounted, still holding the permit:", l.Valid())
	if err := l.Release(); err != nil {
		log.Fatal(err)
	}
	if err := m.Shutdown(context.Background()); err != nil { // waits for the other holders of this process
		log.Fatal(err)
	}
	// Output: unmounted, still holding the permit: true
}

// Users of one permit: a process that counts once in the fleet, whatever it does at the same time.
func Example_onePermitPerProcess() {
	m, stop := newManager()
	defer stop()
	license := mustSemaphore(m, lease.Config{Name: "license", Capacity: 10}).Permit()

	var mu sync.Mutex
	tokens := map[int64]bool{}
	var all errgroup.Group
	for range 20 {
		all.Go(func() error {
			ctx, done, err := license.Use(context.Background())
			if err != nil {
				return err
			}
			defer done()
			mu.Lock()
			defer mu.Unlock()
			tokens[lease.FromContext(ctx).Token()] = true
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		log.Fatal(err)
	}
	fmt.Println("20 users,", len(tokens), "permit")
	if err := license.Release(); err != nil {
		log.Fatal(err)
	}
	// Output: 20 users, 1 permit
}

// A limit on a hot path: a process takes its permit again a moment after it has given it back, and need not ask Redis for
// that. Another process waits no longer than Linger for a permit that nobody uses.
func Example_hotPath() {
	m, stop := newManager()
	defer stop()
	queries := mustSemaphore(m, lease.Config{Name: "queries", Capacity: 50, Linger: 20 * time.Millisecond})

	done := 0
	for range 1000 {
		err := queries.Do(context.Background(), func(context.Context) error {
			done++ // a query that takes no time
			return nil
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(done, "queries")
	// Output: 1000 queries
}

func Example_gpuPerWorker() {
	m, stop := newManager()
	defer stop()
	gpus := mustSemaphore(m, lease.Config{Name: "gpus", Capacity: 8, Slots: true})

	train := func(ctx context.Context) error {
		fmt.Println("CUDA_VISIBLE_DEVICES =", lease.FromContext(ctx).Slots())
		return nil
	}
	err := gpus.Do(context.Background(), func(ctx context.Context) error {
		if err := train(ctx); err != nil {
			return err
		}
		return gpus.Do(context.Background(), train, lease.Weight(2)) // another job, beside it
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// CUDA_VISIBLE_DEVICES = [0]
	// CUDA_VISIBLE_DEVICES = [1 2]
}

func Example_label() {
	m, stop := newManager()
	defer stop()
	gpu := mustSemaphore(m, lease.Config{Name: "gpu", Capacity: 2})

	err := gpu.Do(context.Background(), func(ctx context.Context) error {
		state, err := gpu.Inspect(ctx)
		if err != nil {
			return err
		}
		for _, h := range state.Holders {
			fmt.Printf("%q holds %d\n", h.Label, h.Weight)
		}
		return nil
	}, lease.Label("nightly re-index"))
	if err != nil {
		log.Fatal(err)
	}
	// Output: "nightly re-index" holds 1
}

// A migration that must not run twice, not even when the server fails over while it runs.
func Example_minReplicas() {
	m, err := lease.Open("redis://:secret@sentinel-1:26379/0?master_name=main&addr=sentinel-2:26379", lease.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	migration := mustSemaphore(m, lease.Config{Name: "migration", Capacity: 1, MinReplicas: 2})

	err = migration.Do(context.Background(), func(ctx context.Context) error {
		fmt.Println("migrates")
		return ctx.Err()
	})
	var missing *lease.ReplicaError
	if errors.As(err, &missing) {
		log.Fatalf("only %d of %d replicas follow; nothing was migrated", missing.Acknowledged, missing.Wanted)
	}
}
