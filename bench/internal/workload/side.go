package workload

import (
	"context"
	"fmt"
	"time"

	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/proc"
	"golang.org/x/sync/errgroup"
)

// A side is what every child needs to know to use a contender.
type side struct {
	Contender string
	Options   contender.Options
	Name      string // of the semaphore, or what the names begin with
}

// open returns the contender and a client of it.
func (s side) open() (contender.Contender, contender.Client, error) {
	c, err := contender.Find(s.Contender)
	if err != nil {
		return c, nil, err
	}
	client, err := c.Open(s.Options)
	if err != nil {
		return c, nil, fmt.Errorf("open %s: %w", c.Key, err)
	}
	return c, client, nil
}

// warmUp is how long a first acquire may take that nobody competes with. rueidislock 1.0.79 can miss what wakes
// it when many processes start at once, and then waits for ever. Its connections are open by then; whether it
// goes on like that is for the measurement to show.
const warmUp = 2 * time.Second

// semaphores returns one semaphore for each of n callers, of names that nobody else uses, each acquired
// and released once: connections are open then, and scripts are loaded.
func (s side) semaphores(ctx context.Context, c contender.Contender, client contender.Client, n int) ([]contender.Semaphore, error) {
	semaphores := make([]contender.Semaphore, n)
	var group errgroup.Group
	for i := range semaphores {
		group.Go(func() error {
			name := fmt.Sprintf("%s-own-%d", s.Name, i)
			if err := prepare(ctx, c, s.Options.URL, name, 1); err != nil {
				return err
			}
			semaphore, err := client.Semaphore(name, 1)
			if err != nil {
				return err
			}
			semaphores[i] = semaphore
			bounded, cancel := context.WithCancel(ctx) // not a deadline, see until
			defer cancel()
			defer time.AfterFunc(warmUp, cancel).Stop()
			permit, err := semaphore.Acquire(bounded)
			if err != nil && bounded.Err() != nil && ctx.Err() == nil {
				return nil
			}
			if err != nil {
				return fmt.Errorf("acquire: %w", err)
			}
			if err := permit.Release(); err != nil {
				return fmt.Errorf("release: %w", err)
			}
			return nil
		})
	}
	return semaphores, group.Wait()
}

func prepare(ctx context.Context, c contender.Contender, url, name string, capacity int) error {
	if c.Prepare == nil {
		return nil
	}
	if err := c.Prepare(ctx, url, name, capacity); err != nil {
		return fmt.Errorf("prepare %s: %w", c.Key, err)
	}
	return nil
}

// closeAfter is how long a client has to let its waiters go when their context ends. Then it is closed,
// because not every client listens.
const closeAfter = 100 * time.Millisecond

// until returns a context that ends at stop, without saying so beforehand: some contenders would shape
// their leases by a deadline. The client is closed soon after. The function undoes both.
func until(stop proc.Instant, client contender.Client) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	end := time.AfterFunc(proc.Until(stop), cancel)
	closing := time.AfterFunc(proc.Until(stop)+closeAfter, func() { _ = client.Close() })
	return ctx, func() {
		end.Stop()
		closing.Stop()
		cancel()
	}
}
