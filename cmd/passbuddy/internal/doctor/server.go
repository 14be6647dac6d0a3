package doctor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

func reachable(ctx context.Context, x *examination) []Finding {
	ctx, cancel := x.bound(ctx)
	defer cancel()
	client := x.manager.Client()
	if err := client.Ping(ctx).Err(); err != nil {
		do := "check the address, the network, and whether the port speaks TLS (rediss://)"
		if redis.IsAuthError(err) || strings.HasPrefix(err.Error(), "WRONGPASS") || strings.HasPrefix(err.Error(), "NOAUTH") {
			do = "check the user and the password in the URL"
		}
		return []Finding{{Level: Failure, Found: err.Error(), Why: "no lease can be acquired, and none renewed", Do: do}}
	}
	switch c := client.(type) {
	case *redis.Client:
		x.nodes = []*node{{addr: c.Options().Addr, client: c}}
	case *redis.ClusterClient:
		var mu sync.Mutex
		err := c.ForEachMaster(ctx, func(_ context.Context, c *redis.Client) error {
			mu.Lock()
			defer mu.Unlock()
			x.nodes = append(x.nodes, &node{addr: c.Options().Addr, client: c})
			return nil
		})
		if err != nil {
			return []Finding{{Level: Failure, Found: err.Error(), Why: "names whose slots are on that node cannot be used", Do: "bring the node back"}}
		}
	}
	for _, n := range x.nodes {
		text, err := n.client.Info(ctx, "everything").Result()
		if err != nil {
			n.err = err
			continue
		}
		n.info = parseInfo(text)
	}
	return ok("%d server(s) answer", len(x.nodes))
}

// least is the oldest version that the library works with, and tested the newest that its tests run on.
const (
	least        = "6.2"
	testedRedis  = "8.0"
	testedValkey = "8.1"
)

func version(_ context.Context, x *examination) []Finding {
	return x.each(func(n *node) []Finding {
		flavour, v, tested := "Redis", n.info["redis_version"], testedRedis
		for name, field := range map[string]string{"Valkey": "valkey_version", "Redis Enterprise": "rlec_version", "Dragonfly": "dragonfly_version", "KeyDB": "keydb_version"} {
			if n.info[field] != "" {
				flavour, v = name, n.info[field]
				if tested = ""; name == "Valkey" {
					tested = testedValkey
				}
			}
		}
		switch {
		case v == "":
			return unknown("the server does not say its version")
		case less(v, least) && flavour == "Redis":
			return []Finding{{Level: Failure, Found: "Redis " + v, Why: "the scripts need commands of Redis " + least, Do: "upgrade the server"}}
		case tested == "":
			return []Finding{{Level: Warning, Found: flavour + " " + v, Why: "the library's tests do not run on it", Do: "run them: PASSBUDDY_REDIS_SERVER=… go test ./lease"}}
		case less(tested+".999", v):
			return []Finding{{Level: Warning, Found: flavour + " " + v, Why: "the library's tests run on " + flavour + " up to " + tested, Do: "run them on yours: PASSBUDDY_REDIS_SERVER=… go test ./lease"}}
		}
		return ok("%s %s", flavour, v)
	})
}

// less compares versions by their numbers.
func less(a, b string) bool {
	as, bs := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; i < len(as) && i < len(bs); i++ {
		x, _ := strconv.Atoi(as[i])
		y, _ := strconv.Atoi(bs[i])
		if x != y {
			return x < y
		}
	}
	return len(as) < len(bs)
}

func role(ctx context.Context, x *examination) []Finding {
	return x.each(func(n *node) []Finding {
		if n.info["role"] == "slave" {
			return []Finding{{
				Level: Failure, Found: "the server is a replica of " + n.info["master_host"] + ":" + n.info["master_port"],
				Why: "a replica takes no writes", Do: "use the master's address, or Sentinel: redis://sentinel:26379?master_name=…",
			}}
		}
		if n.info["cluster_enabled"] != "1" {
			return ok("master")
		}
		ctx, cancel := x.bound(ctx)
		defer cancel()
		text, err := n.client.ClusterInfo(ctx).Result()
		if err != nil {
			return unknown("CLUSTER INFO: %v", err)
		}
		cluster := parseInfo(text)
		if cluster["cluster_state"] != "ok" {
			return []Finding{{Level: Failure, Found: "the cluster's state is " + cluster["cluster_state"], Why: "names whose slots nobody serves cannot be used", Do: "bring the missing masters back"}}
		}
		if nodes, err := n.client.ClusterNodes(ctx).Result(); err == nil && (strings.Contains(nodes, "->-") || strings.Contains(nodes, "-<-")) {
			return []Finding{{Level: Warning, Found: "slots are moving", Why: "a name in a slot that moves waits: its acquires are refused meanwhile", Do: "wait until the cluster is balanced"}}
		}
		return ok("master of a cluster of %s", cluster["cluster_size"])
	})
}

func permissions(ctx context.Context, x *examination) []Finding {
	ctx, cancel := x.bound(ctx)
	defer cancel()
	if err := x.manager.Ping(ctx); err != nil {
		x.forbidden = true
		do := "give the user what docs/operations.md lists under Permissions"
		if !strings.Contains(err.Error(), "NOPERM") && !strings.Contains(err.Error(), "ACL") {
			do = "see the text; docs/operations.md explains it"
		}
		return []Finding{{Level: Failure, Found: err.Error(), Why: "a verb that may not run fails when it is needed", Do: do}}
	}
	found := ok("each script runs, with all that it calls")
	for command, why := range map[string]string{
		"publish":   "without it, waiters are told nothing, and poll",
		"subscribe": "without it, waiters are told nothing, and poll",
	} {
		err := x.dry(ctx, command)
		if err != nil {
			found = append(found, Finding{Level: Warning, Found: err.Error(), Why: why, Do: "permit +" + command + ", and the channels: &*"})
		}
	}
	return found
}

// dry asks the server whether the user may run a command. nil where it does not tell.
func (x *examination) dry(ctx context.Context, command string) error {
	client := x.nodes[0].client
	user, err := client.Do(ctx, "ACL", "WHOAMI").Text()
	if err != nil {
		return nil
	}
	args := map[string][]any{"publish": {"publish", "channel", "message"}, "subscribe": {"subscribe", "channel"}}[command]
	text, err := client.Do(ctx, append([]any{"ACL", "DRYRUN", user}, args...)...).Text()
	if err == nil && text != "OK" {
		return errors.New(text)
	}
	return nil
}

func number(s string) float64 {
	f, _ := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	return f
}

func eviction(_ context.Context, x *examination) []Finding {
	return x.each(func(n *node) []Finding {
		policy := n.info["maxmemory_policy"]
		if policy == "" {
			return unknown("the server does not say its maxmemory-policy")
		}
		const why = "a key that is evicted is a permit lost, while its holder works on; all keys of a semaphore expire, so volatile policies take them too"
		switch evicted := number(n.info["evicted_keys"]); {
		case policy == "noeviction" && evicted > 0:
			return []Finding{{Level: Info, Found: fmt.Sprintf("noeviction; %.0f keys were evicted before", evicted)}}
		case policy == "noeviction":
			return ok("noeviction")
		case n.info["maxmemory"] == "0":
			return []Finding{{Level: Warning, Found: policy + ", without a limit of memory", Why: why, Do: "CONFIG SET maxmemory-policy noeviction, before somebody sets maxmemory"}}
		}
		return []Finding{{Level: Failure, Found: policy + ", " + n.info["evicted_keys"] + " keys evicted so far", Why: why, Do: "CONFIG SET maxmemory-policy noeviction, or a server of its own for leases"}}
	})
}

func memory(_ context.Context, x *examination) []Finding {
	return x.each(func(n *node) []Finding {
		used, limit := number(n.info["used_memory"]), number(n.info["maxmemory"])
		if n.info["used_memory"] == "" {
			return unknown("the server does not say how much memory it uses")
		}
		if limit == 0 {
			return ok("%s used, no limit", n.info["used_memory_human"])
		}
		found := Finding{Level: OK, Found: fmt.Sprintf("%.0f %% of %s used", 100*used/limit, n.info["maxmemory_human"])}
		if used > 0.75*limit {
			found.Level, found.Why, found.Do = Warning, "a server without memory grants no permits; it renews and releases those that are held", "give it more memory, or take data away"
		}
		if used > 0.9*limit {
			found.Level = Failure
		}
		return []Finding{found}
	})
}

func persistence(_ context.Context, x *examination) []Finding {
	return x.each(func(n *node) (found []Finding) {
		if n.info["rdb_last_bgsave_status"] == "err" {
			found = append(found, Finding{
				Level: Failure, Found: "the last save failed", Why: "unless stop-writes-on-bgsave-error is no, the server refuses to write: nothing is granted or renewed",
				Do: "look into the server's log; make room on its disk",
			})
		}
		const why = "a server that restarts within a TTL and has lost its data gives permits that are held to others"
		do := fmt.Sprintf("appendonly yes; or start a server that has crashed no sooner than a TTL, %v, after it", x.TTL)
		if n.info["aof_enabled"] != "1" {
			return append(found, Finding{Level: Warning, Found: "no append-only file", Why: why, Do: do})
		}
		return append(found, Finding{Level: Info, Found: "append-only file; with appendfsync everysec, the default, a crash of the machine loses a second", Why: why, Do: "appendfsync always where that is too much"})
	})
}

func replicas(_ context.Context, x *examination) []Finding {
	return x.each(func(n *node) (found []Finding) {
		count := int(number(n.info["connected_slaves"]))
		if count == 0 {
			return ok("none")
		}
		offset := number(n.info["master_repl_offset"])
		for i := range count {
			fields := map[string]string{}
			for part := range strings.SplitSeq(n.info[fmt.Sprintf("slave%d", i)], ",") {
				name, value, _ := strings.Cut(part, "=")
				fields[name] = value
			}
			addr := fields["ip"] + ":" + fields["port"]
			switch lag := time.Duration(number(fields["lag"])) * time.Second; {
			case fields["state"] != "online":
				found = append(found, Finding{Level: Warning, Found: addr + " is not in step: " + fields["state"], Why: "if it takes over, it does not know the permits that are held", Do: "wait until it is online, or look into its log"})
			case lag > max(x.TTL/8, 2*time.Second):
				found = append(found, Finding{Level: Warning, Found: fmt.Sprintf("%s lags by %v and %.0f bytes", addr, lag, offset-number(fields["offset"])), Why: "if it takes over, it does not know the latest grants and renewals", Do: "look at its load and the network"})
			}
		}
		found = append(found, Finding{Level: Info, Found: fmt.Sprintf("%d", count), Why: "a failover to one that lags gives permits twice, unless grants wait for it", Do: fmt.Sprintf("Config.MinReplicas: %d, or --min-replicas, where that must not be", count)})
		return found
	})
}
