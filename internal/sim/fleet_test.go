package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"
)

func TestMain(m *testing.M) {
	flag.Parse()
	logging.Disable()       // go-redis reports each refused connection
	debug.SetGCPercent(800) // there is little to keep
	os.Exit(m.Run())
}

var (
	seeds = flag.Int("seeds", 0, "how many fleets to simulate; 6 by default, 4 with -short, 12 where PASSBUDDY_SOAK is set")
	seed  = flag.Uint64("seed", 0, "the only seed to simulate, to replay it")
	from  = flag.Uint64("from", 1, "the first seed")
	first = flag.Bool("first", false, "begin no fleet after the first violation")
	life_ = flag.Duration("life", 0, "how long each fleet lives, in its own time; 3 minutes by default, and one with -short")
)

// TestFleetKeepsItsPromises lives the life of many fleets, each under troubles drawn from its seed. Every
// second fleet's troubles are short: it may lose no lease.
func TestFleetKeepsItsPromises(t *testing.T) {
	n, life := *seeds, *life_
	if n == 0 {
		switch n = 6; {
		case testing.Short():
			n = 4
		case os.Getenv("PASSBUDDY_SOAK") != "":
			n = 12
		}
	}
	if life == 0 {
		life = 3 * time.Minute
		if testing.Short() {
			life = time.Minute
		}
	}
	begin, end := *from, *from+uint64(n)
	if *seed != 0 {
		begin, end = *seed, *seed+1
	}
	var violated atomic.Bool
	for s := begin; s < end; s++ {
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			t.Parallel()
			if *first && violated.Load() {
				return
			}
			r := Run(t, Plan{Seed: s, For: life, Gentle: s%2 == 0})
			t.Log(r)
			violated.Store(violated.Load() || len(r.Violations) > 0)
			for _, v := range r.Violations {
				t.Errorf("%s\nreplay: go test ./internal/sim -run TestFleetKeepsItsPromises -life %v -seed %d", v, life, s)
			}
		})
	}
}
