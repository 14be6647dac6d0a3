package sim

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// clusterClient is a client of a Cluster whose only node is the server, at an address that moves on with each takeover.
func (f *fleet) clusterClient(o *redis.Options) redis.UniversalClient {
	return redis.NewClusterClient(&redis.ClusterOptions{
		ClusterSlots: func(context.Context) ([]redis.ClusterSlot, error) {
			node := redis.ClusterNode{Addr: fmt.Sprintf("192.0.2.%d:6379", 1+f.takeovers.Load()%250)}
			return []redis.ClusterSlot{{Start: 0, End: 16383, Nodes: []redis.ClusterNode{node}}}, nil
		},
		Dialer:                   o.Dialer,
		PoolSize:                 o.PoolSize,
		PipelinePoolSize:         o.PipelinePoolSize,
		ContextTimeoutEnabled:    o.ContextTimeoutEnabled,
		MaintNotificationsConfig: o.MaintNotificationsConfig,
	})
}

// moveOn has another node take the server's place, with its data.
func (f *fleet) moveOn() {
	f.takeovers.Add(1)
	f.network.Restart(true)
	for _, p := range f.alive() {
		if c, ok := p.client.(*redis.ClusterClient); ok {
			c.ReloadState(context.Background())
		}
	}
}
