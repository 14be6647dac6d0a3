package lease_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/eqworks/passbuddy/lease"
)

// What a service sets up once, and what it does at its end.

// A logger of the service's own.
func ExampleOptions() {
	url, stop := redisURL()
	defer stop()
	open := func(url string) (*lease.Manager, error) {
		logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
		logging.Disable() // of go-redis, which has a logger of its own, and writes a line for each connection that fails
		m, err := lease.Open(url, lease.Options{Logger: logger, Owner: "reports/eu-1"})
		if err != nil {
			return nil, err
		}
		return m, nil
	}
	m, err := open(url)
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	fmt.Println("opened")
	// Output: opened
}

// SIGTERM: nobody begins any more, and who works may finish, within what the platform allows.
func ExampleManager_Shutdown() {
	m, stop := newManager()
	defer stop()
	jobs := mustSemaphore(m, lease.Config{Name: "jobs", Capacity: 4})
	terminated := make(chan struct{}) // in a program: the Done of signal.NotifyContext(ctx, syscall.SIGTERM)
	working, mayFinish := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- jobs.Do(context.Background(), func(context.Context) error {
			close(working)
			<-mayFinish
			return nil
		})
	}()
	<-working
	close(terminated)
	time.AfterFunc(10*time.Millisecond, func() { close(mayFinish) })

	<-terminated
	drain, cancel := context.WithTimeout(context.Background(), 20*time.Second) // Kubernetes kills after 30 s
	defer cancel()
	if err := m.Shutdown(drain); err != nil { // work that is still under way keeps its permit until it ends, or the TTL is over
		slog.Error("some work did not end in time", "err", err)
	}

	fmt.Println("the work ended:", <-ended)
	_, err := jobs.Acquire(context.Background())
	fmt.Println("afterwards:", err)
	// Output:
	// the work ended: <nil>
	// afterwards: lease: manager closed
}
