package transport

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

// An acknowledgement asks how many replicas have what a pipeline wrote, by a WAIT at its end. WAIT covers all that came before
// it in the replication stream, also what others wrote. It has no key, so that on a Cluster it has to go to the node itself.
type acknowledgement struct {
	node    *redis.Client // nil: it is not known who that is, and nothing is acknowledged
	wanted  int
	timeout time.Duration
	wait    *redis.IntCmd

	fewest int // that have acknowledged a pass; negative: there was none
}

// learn takes the answer to a WAIT. What was answered before it, in an earlier pass, may be on another server.
func (a *acknowledgement) learn() {
	n := 0
	if a.wait.Err() == nil {
		n = int(a.wait.Val())
	}
	if a.fewest < 0 || n < a.fewest {
		a.fewest = n
	}
}

// command is a WAIT that has not been sent.
func (a *acknowledgement) command(ctx context.Context) redis.Cmder {
	a.wait = redis.NewIntCmd(ctx, "wait", a.wanted, max(a.timeout.Milliseconds(), 1))
	return a.wait
}

// execute runs the requests of p, whose batches want as many replicas, and says in the batches of entries how many
// replicas have acknowledged them. Where the WAIT
// itself fails, so do all requests, whatever they were answered.
func (a *acknowledgement) execute(ctx context.Context, p *pipeline, entries []entry) {
	a.wanted, a.timeout = entries[0].batch.Replicas, entries[0].batch.ReplicaWait
	for _, e := range entries {
		a.timeout = min(a.timeout, e.batch.ReplicaWait)
	}
	if a.node == nil {
		p.execute(ctx, entries)
		return
	}
	execute(ctx, a.node, a.node.Pipeline(), p.requests, a, &p.room)
	acknowledged, connected := max(a.fewest, 0), -1
	if cluster := p.transport.cluster; cluster != nil && anyMoved(p.requests) {
		cluster.ReloadState(ctx)
	}
	if a.wait.Err() == nil && acknowledged < a.wanted {
		connected = replicasOf(ctx, a.node)
	}
	for _, e := range entries {
		e.batch.Acknowledged, e.batch.Connected = acknowledged, connected
	}
}

func anyMoved(requests []request) bool {
	for _, r := range requests {
		if err := r.call.Failure.Err; err != nil && redis.HasErrorPrefix(err, "MOVED") {
			return true
		}
	}
	return false
}

// replicasOf is how many replicas a server has; negative: it does not say.
func replicasOf(ctx context.Context, node *redis.Client) int {
	role, err := node.Do(ctx, "role").Slice()
	if err != nil || len(role) != 3 || role[0] != "master" {
		return -1
	}
	replicas, isList := role[2].([]any)
	if !isList {
		return -1
	}
	return len(replicas)
}
