package redistest

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func TestClusterServesKeysOnEveryNode(t *testing.T) {
	t.Parallel()
	cluster := StartCluster(t)
	client := cluster.Client(t)
	for i := range 100 {
		mustSet(t, client, "key"+strconv.Itoa(i), "v")
	}
	total := int64(0)
	for _, node := range cluster.Nodes() {
		n, err := node.Client(t).DBSize(t.Context()).Result()
		if err != nil || n == 0 {
			t.Errorf("%s has %d keys, %v", node.Addr(), n, err)
		}
		total += n
	}
	if total != 100 {
		t.Errorf("the nodes have %d keys, want 100", total)
	}
}

func TestPausedNodeTakesOnlyItsOwnSlotsWithIt(t *testing.T) {
	t.Parallel()
	cluster := startCluster(t, time.Second)
	nodes := cluster.Nodes()
	clients := []*redis.Client{nodes[0].Client(t), nodes[1].Client(t), nodes[2].Client(t)}
	// One key for each node; CLUSTER KEYSLOT gives 5061, 9059 and 12182.
	keys := []string{"bar", "world", "foo"}

	nodes[0].Pause()
	for _, client := range clients[1:] {
		eventually(t, "the others see that the node has failed", func(ctx context.Context) error {
			return clusterShows(ctx, client, "cluster_state:ok", "cluster_slots_fail:5461")
		})
	}
	mustSet(t, clients[1], keys[1], "v")
	mustSet(t, clients[2], keys[2], "v")

	nodes[0].Resume()
	for _, client := range clients {
		eventually(t, "all slots are served again", func(ctx context.Context) error {
			return clusterShows(ctx, client, "cluster_state:ok", "cluster_slots_ok:16384")
		})
	}
	mustSet(t, clients[0], keys[0], "v")
}
