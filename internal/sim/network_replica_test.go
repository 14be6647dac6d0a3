package sim_test

import (
	"maps"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/sim"
)

// A replica that takes over has all that was written before it stopped to follow, and nothing that was written after: of no
// type, and at no key. A state of which a part is older than the rest is one that no server has ever had.
func TestReplicaThatTakesOverHasWhatWasThereWhenItStopped(t *testing.T) {
	onNetwork(t, func(t *testing.T, n *sim.Network) {
		ctx := t.Context()
		c := dialer(t, n.Host("a"))
		write := func(value string, score float64) {
			t.Helper()
			_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
				p.Set(ctx, "text", value, time.Minute)
				p.HSet(ctx, "hash", "field", value)
				p.ZAdd(ctx, "set", redis.Z{Member: "both", Score: score}, redis.Z{Member: value, Score: score})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		write("before", 1)
		replica := n.StopReplica()
		write("after", 2)
		replica.TakeOver(nil)

		c = dialer(t, n.Host("b")) // a's connections are reset
		if text, hash := c.Get(ctx, "text").Val(), c.HGet(ctx, "hash", "field").Val(); text != "before" || hash != "before" {
			t.Errorf("the text is from %s, the hash from %s", text, hash)
		}
		set := map[string]float64{}
		for _, z := range c.ZRangeWithScores(ctx, "set", 0, -1).Val() {
			set[z.Member.(string)] = z.Score
		}
		if !maps.Equal(set, map[string]float64{"both": 1, "before": 1}) {
			t.Errorf("the sorted set is %v", set)
		}
		if left := c.TTL(ctx, "text").Val(); left <= 0 || left > time.Minute {
			t.Errorf("the text has %v left", left)
		}
	})
}
