package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

const sentinels = 3

// SentinelSet is a master, its replica, and three sentinels of which two must
// agree to replace the master. Its methods keep the rules of [Server]'s.
type SentinelSet struct {
	// MasterName is what the sentinels call the master.
	MasterName string

	t         testing.TB
	data      []*Server // one is the master, the other its replica
	sentinels []*Server
	clients   []*redis.SentinelClient // of sentinels
}

// StartSentinel runs a sentinel set and returns when the replica receives the
// master's writes and all sentinels know each other, the master and the
// replica. All of it ends with t.
//
// The sentinels take a master for dead after 500 ms and have the replica
// promoted some one to two seconds later. Under -short the test is skipped.
func StartSentinel(t testing.TB) *SentinelSet {
	t.Helper()
	skipIfShort(t)
	// With its default a master waits for five seconds in case more replicas
	// want the same copy.
	master := Start(t, "--repl-diskless-sync-delay", "0")
	replica := Start(t, "--repl-diskless-sync-delay", "0", "--replicaof", "127.0.0.1", strconv.Itoa(master.port))
	set := &SentinelSet{MasterName: "mymaster", t: t, data: []*Server{master, replica}}

	replica.AwaitStream(master)
	for range sentinels {
		set.startSentinel(master)
	}
	for _, sentinel := range set.clients {
		eventually(t, "the sentinels know each other and the replica", func(ctx context.Context) error {
			return set.complete(ctx, sentinel)
		})
	}
	return set
}

// AwaitReplication returns when the replica has all that the master had
// carried out before the call.
func (s *SentinelSet) AwaitReplication() {
	s.t.Helper()
	master := s.Master()
	s.other(master).AwaitReplication(master)
}

// showsReplication returns the fields of INFO replication.
func showsReplication(ctx context.Context, client *redis.Client) (map[string]string, error) {
	info, err := client.Info(ctx, "replication").Result()
	if err != nil {
		return nil, err
	}
	fields := make(map[string]string)
	for line := range strings.Lines(info) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			fields[name] = value
		}
	}
	return fields, nil
}

func (s *SentinelSet) startSentinel(master *Server) {
	s.t.Helper()
	// A sentinel refuses to run without a configuration file, to which it
	// writes what it learns.
	sentinel := start(s.t, freePort, "+monitor master", func(dir string, port int) ([]string, error) {
		file := filepath.Join(dir, "sentinel.conf")
		conf := []string{
			"bind 127.0.0.1",
			fmt.Sprintf("port %d", port),
			fmt.Sprintf("dir %q", dir),
			fmt.Sprintf("sentinel monitor %s 127.0.0.1 %d 2", s.MasterName, master.port),
			fmt.Sprintf("sentinel down-after-milliseconds %s 500", s.MasterName),
			// A split vote is repeated after twice this time.
			fmt.Sprintf("sentinel failover-timeout %s 2000", s.MasterName),
		}
		err := os.WriteFile(file, []byte(strings.Join(conf, "\n")+"\n"), 0o600)
		return []string{file, "--sentinel"}, err
	})
	client := redis.NewSentinelClient(&redis.Options{Addr: sentinel.Addr()})
	s.t.Cleanup(func() { _ = client.Close() })

	// Sentinels greet each other every two seconds and look at the replicas
	// every ten, and may refuse to promote one that they have not looked at
	// for five PINGs. And they send the first PING to a server only when it
	// would already count as down: each takes the living master for dead half
	// a second after it has met it, and two may agree. It must not be too
	// often either: they look once a second at the replicas of a dead master.
	// These settings are new in Redis 7: an older one is slower, and may err.
	_ = client.Process(s.t.Context(), redis.NewStatusCmd(s.t.Context(),
		"SENTINEL", "DEBUG", "publish-period", 100, "info-period", 500, "ping-period", 300))

	s.sentinels = append(s.sentinels, sentinel)
	s.clients = append(s.clients, client)
}

// complete returns an error unless the sentinel can reach all others and sees
// the replica linked to the master.
func (s *SentinelSet) complete(ctx context.Context, sentinel *redis.SentinelClient) error {
	quorum, err := sentinel.CkQuorum(ctx, s.MasterName).Result()
	if err != nil {
		return err
	}
	if want := fmt.Sprintf("OK %d usable Sentinels", sentinels); !strings.HasPrefix(quorum, want) {
		return errors.New(quorum)
	}
	replicas, err := sentinel.Replicas(ctx, s.MasterName).Result()
	if err != nil {
		return err
	}
	if len(replicas) != 1 || replicas[0]["flags"] != "slave" || replicas[0]["master-link-status"] != "ok" {
		return fmt.Errorf("replicas: %v", replicas)
	}
	return nil
}

// Addrs returns the addresses of the sentinels.
func (s *SentinelSet) Addrs() []string { return addrs(s.sentinels) }

// Client returns a client that asks the sentinels for the master and follows
// it, with the library's default options. It is closed when t ends.
func (s *SentinelSet) Client(t testing.TB) *redis.Client {
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName:    s.MasterName,
		SentinelAddrs: s.Addrs(),
	})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// Master returns the server that all sentinels name as the master. It waits
// for as long as they differ. A master that has just died is named until the
// sentinels have replaced it.
func (s *SentinelSet) Master() *Server {
	s.t.Helper()
	var master *Server
	eventually(s.t, "the sentinels name one master", func(ctx context.Context) (err error) {
		master, err = s.namedMaster(ctx)
		return err
	})
	return master
}

// Replica returns the server that is not the master.
func (s *SentinelSet) Replica() *Server {
	s.t.Helper()
	return s.other(s.Master())
}

// FailOver kills the master and returns it at once, long before the sentinels
// replace it; see [SentinelSet.AwaitNewMaster]. To have the old master come
// back still thinking that it is the master, use Pause and Resume on Master
// instead.
func (s *SentinelSet) FailOver() *Server {
	s.t.Helper()
	master := s.Master()
	master.Kill()
	return master
}

// AwaitNewMaster returns the server that replaces old, when all sentinels name
// it as the master and it agrees.
func (s *SentinelSet) AwaitNewMaster(old *Server) *Server {
	s.t.Helper()
	next := s.other(old)
	client := next.Client(s.t)
	eventually(s.t, "the sentinels have replaced the master", func(ctx context.Context) error {
		master, err := s.namedMaster(ctx)
		if err != nil {
			return err
		}
		if master != next {
			return fmt.Errorf("the master is still %s", master.Addr())
		}
		return showsRole(ctx, client, "master")
	})
	return next
}

// showsRole returns an error unless the server says that it has the role.
func showsRole(ctx context.Context, client *redis.Client, want string) error {
	role, err := client.Do(ctx, "ROLE").Slice()
	if err == nil && role[0] != want {
		err = fmt.Errorf("the role is %v", role[0])
	}
	return err
}

// namedMaster returns the server that all sentinels name, or an error.
func (s *SentinelSet) namedMaster(ctx context.Context) (*Server, error) {
	named := make(map[string]bool)
	for _, sentinel := range s.clients {
		hostPort, err := sentinel.GetMasterAddrByName(ctx, s.MasterName).Result()
		if err != nil {
			return nil, err
		}
		named[strings.Join(hostPort, ":")] = true
	}
	for _, server := range s.data {
		if len(named) == 1 && named[server.Addr()] {
			return server, nil
		}
	}
	return nil, fmt.Errorf("the sentinels name %v", named)
}

func (s *SentinelSet) other(server *Server) *Server {
	if server == s.data[0] {
		return s.data[1]
	}
	return s.data[0]
}
