package telemetry

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// A client that heeds no context holds up no scrape: the timeout does.
func TestALookIsOverInTime(t *testing.T) {
	server := redistest.Start(t)
	client := redis.NewClient(&redis.Options{Addr: server.Addr(), ReadTimeout: time.Minute, MaxRetries: -1})
	m, err := lease.New(client, lease.Options{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := NewFleet(m, FleetOptions{Names: []string{"gpu", "cpu"}, Timeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if points := f.Look(t.Context()); len(points) != 12 || points[0].Value != 1 {
		t.Fatalf("while Redis answers, there are %v", points)
	}
	server.Pause()
	for range 2 { // the second finds the first still at it
		points := f.Look(t.Context())
		if len(points) != 2 || points[0] != (Point{FleetUp, "gpu", 0}) || points[1] != (Point{FleetUp, "cpu", 0}) {
			t.Errorf("while Redis does not answer, there are %v", points)
		}
	}
	server.Resume()
	redistest.Eventually(t, "it is looked at again", func(ctx context.Context) error {
		if f.Look(ctx)[0].Value != 1 {
			return errors.New("it is not")
		}
		return nil
	})
	_ = client.Close()
}

func TestAFleetRefusesWhatCannotWork(t *testing.T) {
	m, err := lease.Open("redis://127.0.0.1:1", lease.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for what, opts := range map[string]FleetOptions{
		"no names":           {},
		"an empty name":      {Names: []string{""}},
		"a nil semaphore":    {Semaphores: []*lease.Semaphore{nil}},
		"a negative timeout": {Names: []string{"gpu"}, Timeout: -1},
		"too many names":     {Names: manyNames(MaxFleet + 1)},
	} {
		if _, err := NewFleet(m, opts); !errors.Is(err, lease.ErrOption) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := NewFleet(nil, FleetOptions{Names: []string{"gpu"}}); !errors.Is(err, lease.ErrOption) {
		t.Errorf("no manager: %v", err)
	}
}

func manyNames(n int) (names []string) {
	for i := range n {
		names = append(names, string(rune('a'+i%26))+time.Duration(i).String())
	}
	return names
}
