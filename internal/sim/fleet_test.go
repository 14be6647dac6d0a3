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
	seeds = flag.Int("seeds", 12, "how many fleets to simulate")
	seed  = flag.Uint64("seed", 0, "the only seed to simulate, to replay it")
	from  = flag.Uint64("from", 1, "the first seed")
	first = flag.Bool("first", false, "begin no fleet after the first violation")
	life_ = flag.Duration("life", 3*time.Minute, "how long each fleet lives, in its own time")
)

// TestFleetKeepsItsPromises lives the life of many fleets, each under troubles drawn from its seed. Every
// second fleet's troubles are short: it may lose no lease.
func TestFleetKeepsItsPromises(t *testing.T) {
	begin, end := *from, *from+uint64(*seeds)
	if *seed != 0 {
		begin, end = *seed, *seed+1
	}
	var violated atomic.Bool
	for s := begin; s < end; s++ {
		t.Run(fmt.Sprintf("seed=%d", s), func(t *testing.T) {
			t.Parallel()
			if testing.Short() && s >= begin+4 {
				t.Skip("-short: four fleets")
			}
			if *first && violated.Load() {
				return
			}
			r := Run(t, Plan{Seed: s, For: *life_, Gentle: s%2 == 0})
			t.Log(r)
			violated.Store(violated.Load() || len(r.Violations) > 0)
			for _, v := range r.Violations {
				t.Errorf("%s\nreplay: go test ./internal/sim -run TestFleetKeepsItsPromises -life %v -seed %d", v, *life_, s)
			}
		})
	}
}
