package redistest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	clusterMasters = 3
	clusterSlots   = 16384
	nodeTimeout    = 2 * time.Second // after which a node takes another for failed
)

// Cluster is a Redis Cluster of three masters without replicas. Node i serves
// the i-th third of the slots. Its methods keep the rules of [Server]'s.
type Cluster struct {
	nodes    []*Server
	busPorts []int // of nodes, for CLUSTER MEET
}

// StartCluster runs a cluster and returns when every node says that all slots
// are served; that takes two to three seconds, most of it a delay built into
// Redis. The nodes end with t. A node that is down or paused takes its own
// slots with it and no others. Under -short the test is skipped.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	return startCluster(t, nodeTimeout)
}

// startCluster is StartCluster whose nodes take another for failed when it is silent for nodeTimeout.
func startCluster(t testing.TB, nodeTimeout time.Duration) *Cluster {
	t.Helper()
	skipIfShort(t)
	c := new(Cluster)
	for range clusterMasters {
		c.startNode(t, nodeTimeout)
	}
	clients := make([]*redis.Client, len(c.nodes))
	for i, node := range c.nodes {
		clients[i] = node.Client(t)
	}
	if err := c.join(t.Context(), clients); err != nil {
		t.Fatalf("redistest: forming the cluster: %v", err)
	}
	for _, client := range clients {
		eventually(t, "the cluster is complete", func(ctx context.Context) error {
			return clusterShows(ctx, client,
				"cluster_state:ok",
				"cluster_known_nodes:"+strconv.Itoa(clusterMasters),
				"cluster_size:"+strconv.Itoa(clusterMasters),
				"cluster_slots_ok:"+strconv.Itoa(clusterSlots),
			)
		})
	}
	return c
}

func (c *Cluster) startNode(t testing.TB, nodeTimeout time.Duration) {
	t.Helper()
	var busPort int
	node := start(t, freePort, serverReady, func(dir string, port int) (_ []string, err error) {
		// The default is 10000 above the client port, which may be in the
		// range of outgoing connections.
		busPort, err = freePort(t)
		return serverArgs(dir, port,
			"--cluster-enabled", "yes",
			"--cluster-port", strconv.Itoa(busPort),
			"--cluster-config-file", "nodes.conf",
			"--cluster-node-timeout", strconv.FormatInt(nodeTimeout.Milliseconds(), 10),
			"--cluster-require-full-coverage", "no",
			"--repl-diskless-sync-delay", "0", // else a master waits for more replicas
		), err
	})
	c.nodes = append(c.nodes, node)
	c.busPorts = append(c.busPorts, busPort)
}

// join gives every node its slots and an epoch of its own, and then introduces
// all to the first. Left to themselves the nodes would all start in epoch 0
// and have to settle their order first.
func (c *Cluster) join(ctx context.Context, clients []*redis.Client) error {
	for i, client := range clients {
		from, to := i*clusterSlots/len(clients), (i+1)*clusterSlots/len(clients)-1
		if err := client.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			return err
		}
		if err := client.Do(ctx, "CLUSTER", "ADDSLOTSRANGE", from, to).Err(); err != nil {
			return err
		}
	}
	for i := range clients[1:] {
		node := i + 1
		// go-redis's ClusterMeet has no bus port.
		if err := clients[0].Do(ctx, "CLUSTER", "MEET", "127.0.0.1", c.nodes[node].port, c.busPorts[node]).Err(); err != nil {
			return err
		}
	}
	return nil
}

// AddReplica starts a replica of one of the nodes, and returns when it receives the node's writes. It is none of Nodes.
func (c *Cluster) AddReplica(t testing.TB, of *Server) *Server {
	t.Helper()
	c.startNode(t, nodeTimeout)
	last := len(c.nodes) - 1
	replica, busPort := c.nodes[last], c.busPorts[last]
	c.nodes, c.busPorts = c.nodes[:last], c.busPorts[:last]
	ctx, master, client := t.Context(), of.Client(t), replica.Client(t)
	id, err := master.Do(ctx, "CLUSTER", "MYID").Text()
	if err == nil {
		err = master.Do(ctx, "CLUSTER", "MEET", "127.0.0.1", replica.port, busPort).Err()
	}
	if err != nil {
		t.Fatalf("redistest: adding a replica: %v", err)
	}
	eventually(t, "the node replicates", func(ctx context.Context) error {
		return client.Do(ctx, "CLUSTER", "REPLICATE", id).Err() // an error while it does not know the master
	})
	eventually(t, "the replica knows the cluster", func(ctx context.Context) error {
		return clusterShows(ctx, client, "cluster_state:ok", "cluster_slots_ok:"+strconv.Itoa(clusterSlots))
	})
	replica.AwaitStream(of)
	return replica
}

// clusterShows returns an error unless CLUSTER INFO has all of the lines.
func clusterShows(ctx context.Context, client *redis.Client, lines ...string) error {
	info, err := client.ClusterInfo(ctx).Result()
	if err != nil {
		return err
	}
	for _, line := range lines {
		if !strings.Contains(info, line+"\r\n") {
			return fmt.Errorf("no %s in:\n%s", line, info)
		}
	}
	return nil
}

// TakeOver has a replica take its master's slots over without a vote of the other masters, which takes several seconds and
// several attempts on a busy machine, and returns as AwaitNewMaster does.
func (c *Cluster) TakeOver(t testing.TB, replica *Server) {
	t.Helper()
	if err := replica.Client(t).Do(t.Context(), "CLUSTER", "FAILOVER", "TAKEOVER").Err(); err != nil {
		t.Fatalf("redistest: taking over: %v", err)
	}
	c.AwaitNewMaster(t, replica)
}

// AwaitNewMaster returns when a replica has taken its master's slots over, and the cluster is complete again.
func (c *Cluster) AwaitNewMaster(t testing.TB, replica *Server) {
	t.Helper()
	client := replica.Client(t)
	eventually(t, "the replica is the master", func(ctx context.Context) error {
		if err := showsRole(ctx, client, "master"); err != nil {
			nodes, _ := client.ClusterNodes(ctx).Result()
			info, _ := client.Info(ctx, "replication").Result()
			return fmt.Errorf("%w; it knows\n%s%s", err, nodes, info)
		}
		return clusterShows(ctx, client, "cluster_state:ok", "cluster_slots_ok:"+strconv.Itoa(clusterSlots))
	})
}

// Addrs returns the addresses of all nodes.
func (c *Cluster) Addrs() []string { return addrs(c.nodes) }

// Nodes returns the nodes in the order of their slots.
func (c *Cluster) Nodes() []*Server { return append([]*Server(nil), c.nodes...) }

// Client returns a cluster client with the library's default options. It is
// closed when t ends.
func (c *Cluster) Client(t testing.TB) *redis.ClusterClient {
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs()})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func addrs(servers []*Server) []string {
	list := make([]string, len(servers))
	for i, s := range servers {
		list[i] = s.Addr()
	}
	return list
}
