package lease_test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// A deployment is one kind of Redis.
type deployment struct {
	url   string // for a manager
	admin redis.UniversalClient
	nodes []*redis.Client // that own slots
	names []string        // of semaphores, spread over the nodes

	mu        sync.Mutex
	processes []*lease.Manager
}

// deployments are those that the queue is tested on. Each function starts its servers.
var deployments = map[string]func(*testing.T) *deployment{
	"single server": func(t *testing.T) *deployment {
		server := redistest.Start(t)
		return &deployment{url: "redis://" + server.Addr(), admin: server.Client(t), nodes: []*redis.Client{server.Client(t)}, names: []string{"gpu"}}
	},
	"just the permissions that docs/operations.md lists": func(t *testing.T) *deployment {
		server := redistest.Start(t)
		admin := server.Client(t)
		allowAsDocumented(t, admin)
		return &deployment{url: "redis://leases:secret@" + server.Addr(), admin: admin, nodes: []*redis.Client{admin}, names: []string{"gpu"}}
	},
	"Sentinel": func(t *testing.T) *deployment {
		set := redistest.StartSentinel(t)
		return &deployment{url: sentinelURL(set), admin: set.Client(t), nodes: []*redis.Client{set.Master().Client(t)}, names: []string{"gpu"}}
	},
	"Cluster": func(t *testing.T) *deployment {
		cluster := redistest.StartCluster(t)
		p := clusterDeployment(t, cluster)
		p.url = "redis://" + cluster.Addrs()[0] + "?cluster=true"
		return p
	},
	"Cluster, just the permissions that docs/operations.md lists": func(t *testing.T) *deployment {
		cluster := redistest.StartCluster(t)
		p := clusterDeployment(t, cluster)
		for _, node := range p.nodes {
			allowAsDocumented(t, node, "+cluster|slots")
		}
		p.url = "redis://leases:secret@" + cluster.Addrs()[0] + "?cluster=true"
		p.names = p.names[:3]
		return p
	},
}

func sentinelURL(set *redistest.SentinelSet) string {
	return fmt.Sprintf("redis://%s?master_name=%s&addr=%s&addr=%s", set.Addrs()[0], set.MasterName, set.Addrs()[1], set.Addrs()[2])
}

// clusterDeployment has three semaphores on each of the nodes.
func clusterDeployment(t *testing.T, cluster *redistest.Cluster) *deployment {
	client := cluster.Client(t)
	p := &deployment{admin: client}
	on := map[string]int{}
	for _, node := range cluster.Nodes() {
		p.nodes = append(p.nodes, node.Client(t))
	}
	for i := 0; len(p.names) < 9; i++ {
		name := fmt.Sprintf("gpu-%d", i)
		node, err := client.MasterForKey(t.Context(), "passbuddy-"+name)
		if err != nil {
			t.Fatal(err)
		}
		if addr := node.Options().Addr; on[addr] <= len(p.names)/3 && on[addr] < 3 {
			on[addr]++
			p.names = append(p.names, name)
		}
	}
	return p
}

// allowAsDocumented makes the user that docs/operations.md tells to make.
func allowAsDocumented(t *testing.T, admin *redis.Client, more ...any) {
	t.Helper()
	var args []any
	for _, rule := range documentedRules(t) {
		args = append(args, rule)
	}
	if err := admin.Do(t.Context(), append(args, more...)...).Err(); err != nil {
		t.Fatal(err)
	}
}

func documentedRules(t *testing.T) []string {
	t.Helper()
	readme, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rules, found := strings.Cut(string(readme), "```\nACL SETUSER ")
	rules, _, closed := strings.Cut(rules, "```")
	if !found || !closed {
		t.Fatal("docs/operations.md has no block that begins with ACL SETUSER")
	}
	return append([]string{"ACL", "SETUSER"}, strings.Fields(rules)...)
}

// process is the i-th process of the fleet on this deployment, the same for all semaphores. It ends with t.
func (p *deployment) process(t *testing.T, i int) *lease.Manager {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.processes) <= i {
		m, err := lease.Open(p.url, lease.Options{Logger: quiet})
		if err != nil {
			t.Fatal(err)
		}
		p.processes = append(p.processes, m)
	}
	return p.processes[i]
}

// use is a process's handle of a semaphore.
func (p *deployment) use(t *testing.T, process int, cfg lease.Config) *lease.Semaphore {
	t.Helper()
	s, err := p.process(t, process).Semaphore(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (p *deployment) keys(name string) (holders, queue string) {
	return "passbuddy-" + name, "{passbuddy-" + name + "}:queue"
}

func (p *deployment) close() {
	var all sync.WaitGroup
	for _, m := range p.processes {
		all.Go(func() { _ = m.Close() })
	}
	all.Wait()
}
