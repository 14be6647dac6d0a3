package leader_test

import (
	"context"
	"fmt"
	"log"

	"github.com/alicebob/miniredis/v2"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leader"
)

func Example() {
	server, err := miniredis.Run() // yours is a Redis
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	m, err := lease.Open("redis://"+server.Addr(), lease.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close()
	one, err := m.Semaphore(lease.Config{Name: "scheduler-leader", Capacity: 1})
	if err != nil {
		log.Fatal(err)
	}

	ctx, stop := context.WithCancel(context.Background()) // until SIGTERM
	err = leader.Run(ctx, one, func(ctx context.Context) error {
		token := lease.FromContext(ctx).Token() // goes along with each write
		fmt.Println("leads, with a token:", token > 0)
		stop()
		<-ctx.Done() // the leadership is over: stop the work, and return
		return nil
	}, leader.Options{
		Elected: func(l *lease.Lease) { fmt.Println("elected to", l.Name()) },
		Ended:   func(_ *lease.Lease, why error) { fmt.Println("ended:", why) },
	})
	fmt.Println("Run returned:", err)
	// Output:
	// elected to scheduler-leader
	// leads, with a token: true
	// ended: context canceled
	// Run returned: context canceled
}
