package lease_test

import (
	"context"
	"fmt"
	"log"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/eqworks/passbuddy/lease"
)

// An errgroup whose limit is the fleet's.
func ExampleSemaphore_Group() {
	m, stop := newManager()
	defer stop()
	fetches := mustSemaphore(m, lease.Config{Name: "fetch", Capacity: 3})

	var fetched atomic.Int64
	g := fetches.Group(context.Background())
	for range 10 {
		g.Go(func(ctx context.Context) error { // waits for a permit, and runs under its lease
			fetched.Add(1)
			return ctx.Err()
		})
	}
	if err := g.Wait(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(fetched.Load(), "fetched")
	// Output: 10 fetched
}

// Stages in an errgroup; one of them calls something that the whole fleet shares.
func Example_errgroupPipeline() {
	m, stop := newManager()
	defer stop()
	translate := mustSemaphore(m, lease.Config{Name: "translate", Capacity: 3})

	words, translated := make(chan string), make(chan string)
	g, ctx := errgroup.WithContext(context.Background())
	g.Go(func() error {
		defer close(words)
		for _, word := range []string{"eins", "zwei", "drei"} {
			select {
			case words <- word:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	g.Go(func() error {
		defer close(translated)
		calls := translate.Group(ctx)
		for word := range words {
			calls.Go(func(ctx context.Context) error {
				select {
				case translated <- word + ", translated":
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			})
		}
		return calls.Wait() // says why, also when a lease was lost
	})
	count := 0
	g.Go(func() error {
		for range translated {
			count++
		}
		return nil
	})
	if err := g.Wait(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(count, "words translated")
	// Output: 3 words translated
}
