// Command httplimit shows servers under load that share one limit. Three HTTP servers work on something
// that stands six requests at a time, from all of them together. While more clients come than that, the
// servers shed what they cannot serve soon: it is answered at once, and what is served stays quick. In the end it shows
// what a limit costs on a hot path, without Linger and with it.
//
//	go run ./examples/httplimit
//	REDIS_URL=redis://localhost:6379 go run ./examples/httplimit
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/eqworks/passbuddy/examples/internal/demo"
	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasehttp"
)

const (
	servers  = 3
	workTime = 40 * time.Millisecond // of a request, under its permit
	maxWait  = 150 * time.Millisecond
)

var config = lease.Config{
	Name:     "example-httplimit",
	Capacity: 6,
	TTL:      3 * time.Second,
}

var phases = []phase{
	{name: "calm", clients: 6, lasts: 2500 * time.Millisecond},
	{name: "rush", clients: 90, lasts: 4 * time.Second},
	{name: "calm", clients: 6, lasts: 2500 * time.Millisecond},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "httplimit:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer) error {
	redis, err := demo.Start()
	if err != nil {
		return err
	}
	defer redis.Close()
	fmt.Fprintf(out, "%d servers share %d permits of %q, on %s.\n", servers, config.Capacity, config.Name, redis.Name)
	fmt.Fprintf(out, "A request works for %v under a permit. It waits for one for %v at most;\n", workTime, maxWait)
	fmt.Fprintf(out, "then it is shed: 503, with a Retry-After that its client keeps to.\n\n")

	site := &site{}
	for range servers { // each with its own client and manager, as in processes of their own
		client := redis.Client()
		defer client.Close()
		manager, err := lease.New(client, lease.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return err
		}
		defer manager.Close()
		semaphore, err := manager.Semaphore(config)
		if err != nil {
			return err
		}
		// Ready once Redis has answered: the first call connects and brings the scripts, which no request should wait for.
		if err := semaphore.Do(ctx, func(context.Context) error { return nil }); err != nil {
			return err
		}
		limit := leasehttp.Limit(semaphore, leasehttp.Options{MaxWait: maxWait})
		server := httptest.NewServer(limit(site))
		defer server.Close()
		site.urls = append(site.urls, server.URL)
	}

	heading(out)
	var shed int
	for _, p := range phases {
		score := p.run(ctx, site)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		score.print(out, p)
		if len(score.problems) > 0 {
			return fmt.Errorf("%s: %d answers that were not expected, the first: %w", p.name, len(score.problems), score.problems[0])
		}
		shed += score.shed
	}
	most := site.mostEver.Load()
	fmt.Fprintf(out, "\nNever more than %d at work at a time, in all servers together. %d requests were shed.\n", most, shed)
	switch {
	case most > int64(config.Capacity):
		return fmt.Errorf("%d requests were at work at a time", most)
	case shed == 0:
		return fmt.Errorf("nothing was shed in the rush")
	}
	return hotPath(ctx, out, redis)
}

// A site is the handler of all servers. It counts who is inside.
type site struct {
	urls     []string
	inside   atomic.Int64
	most     atomic.Int64 // in this phase
	mostEver atomic.Int64
}

func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := s.inside.Add(1)
	defer s.inside.Add(-1)
	raise(&s.most, n)
	raise(&s.mostEver, n)
	if demo.Sleep(r.Context(), workTime) { // ends with the lease, and when the client goes away
		fmt.Fprintln(w, "done")
	}
}

func raise(v *atomic.Int64, n int64) {
	for old := v.Load(); n > old && !v.CompareAndSwap(old, n); old = v.Load() {
	}
}
