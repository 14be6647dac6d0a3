package doctor

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

func TestMain(m *testing.M) {
	logging.Disable()
	redistest.RunMoreInParallel()
	os.Exit(m.Run())
}

// examined is what the doctor finds, but for what is ok.
func examined(t *testing.T, addr string, change ...func(*Plan)) map[string]Finding {
	t.Helper()
	p := Plan{URL: "redis://" + addr, Prefix: "passbuddy", TTL: 15 * time.Second, Duration: 100 * time.Millisecond, Timeout: 5 * time.Second}
	for _, c := range change {
		c(&p)
	}
	found := map[string]Finding{}
	err := Examine(t.Context(), p, func(f Finding) {
		if f.Level != OK {
			found[f.ID] = f
		}
		if f.Found == "" || f.Check == "" || (f.Level == Failure || f.Level == Warning) && (f.Why == "" || f.Do == "") {
			t.Errorf("it does not say enough: %+v", f)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// healthy is what is found on a server that needs nothing but a file to append to.
func start(t *testing.T, args ...string) *redistest.Server {
	t.Helper()
	return redistest.Start(t, append([]string{"--appendonly", "yes"}, args...)...)
}

func TestAHealthyServerIsFound(t *testing.T) {
	t.Parallel()
	server := start(t)
	for id, f := range examined(t, server.Addr()) {
		if id != "12" || f.Level != Info {
			t.Errorf("%+v", f)
		}
	}
	if keys := server.Client(t).Keys(t.Context(), "*doctor*").Val(); len(keys) > 0 {
		t.Errorf("it leaves %v", keys)
	}
}

// For each illness the right check speaks, and no other.
func TestEachIllnessIsFound(t *testing.T) {
	ctx := context.Background()
	for name, tc := range map[string]struct {
		args  []string
		make  func(*testing.T, *redistest.Server) (addr string)
		plan  func(*Plan)
		id    string
		level Level
		says  string
	}{
		"an evicting policy":             {args: []string{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"}, id: "10", level: Failure, says: "allkeys-lru"},
		"one that evicts what expires":   {args: []string{"--maxmemory", "100mb", "--maxmemory-policy", "volatile-ttl"}, id: "10", level: Failure, says: "volatile-ttl"},
		"an evicting policy for later":   {args: []string{"--maxmemory-policy", "allkeys-lru"}, id: "10", level: Warning, says: "without a limit"},
		"no file to append to":           {args: []string{"--appendonly", "no"}, id: "12", level: Warning, says: "no append-only file"},
		"short scripts":                  {args: []string{"--lua-time-limit", "50"}, id: "23", level: Warning, says: "50 ms"},
		"small buffers":                  {args: []string{"--client-output-buffer-limit", "pubsub 1000 1000 1"}, id: "31", level: Warning, says: "1000 bytes"},
		"connections that do not last":   {args: []string{"--timeout", "10"}, id: "32", level: Warning, says: "10 s"},
		"connections that nobody checks": {args: []string{"--tcp-keepalive", "0"}, id: "32", level: Warning, says: "tcp-keepalive"},
		"few connections": {
			args: []string{"--maxclients", "10"},
			make: func(t *testing.T, s *redistest.Server) string {
				for range 7 {
					conn := s.Client(t).Conn()
					t.Cleanup(func() { _ = conn.Close() })
					if err := conn.Ping(ctx).Err(); err != nil {
						t.Fatal(err)
					}
				}
				return s.Addr()
			},
			plan: func(p *Plan) { p.Only = []string{"33"} },
			id:   "33", level: Warning, says: "of 10",
		},
		"a full memory": {
			make: func(t *testing.T, s *redistest.Server) string {
				client := s.Client(t)
				// A script: else the client's buffer is as large for a while.
				if err := client.Eval(ctx, "return redis.call('SET', KEYS[1], string.rep('x', 30000000))", []string{"ballast"}).Err(); err != nil {
					t.Fatal(err)
				}
				_ = client.SlowLogReset(ctx).Err()
				used := parseInfo(client.Info(ctx, "memory").Val())["used_memory"]
				if err := client.ConfigSet(ctx, "maxmemory", fmt.Sprintf("%.0f", number(used)*1.2)).Err(); err != nil {
					t.Fatal(err)
				}
				return s.Addr()
			},
			id: "11", level: Warning, says: "%",
		},
		"a missing permission": {
			make: func(t *testing.T, s *redistest.Server) string {
				allow(t, s, "-zadd")
				return "user:pw@" + s.Addr()
			},
			id: "04", level: Failure, says: "ZADD",
		},
		"a slow server": {
			make: func(t *testing.T, s *redistest.Server) string {
				p := redistest.NewProxy(t, s.Addr())
				p.Delay(15 * time.Millisecond)
				return p.Addr()
			},
			plan: func(p *Plan) { p.TTL, p.Only = time.Second, []string{"20"} }, // 30 ms are more than a 40th
			id:   "20", level: Warning, says: "median",
		},
		"a server that is too slow": {
			make: func(t *testing.T, s *redistest.Server) string {
				p := redistest.NewProxy(t, s.Addr())
				p.Delay(15 * time.Millisecond)
				return p.Addr()
			},
			plan: func(p *Plan) { p.TTL, p.Only = 200*time.Millisecond, []string{"20"} },
			id:   "20", level: Failure, says: "median",
		},
		"a slow command": {
			make: func(t *testing.T, s *redistest.Server) string {
				if err := s.Client(t).Do(ctx, "DEBUG", "SLEEP", "0.3").Err(); err != nil {
					t.Fatal(err)
				}
				return s.Addr()
			},
			args: []string{"--enable-debug-command", "yes"},
			plan: func(p *Plan) { p.TTL = 2 * time.Second },
			id:   "22", level: Warning, says: "DEBUG",
		},
		"an old version": {
			make: func(t *testing.T, s *redistest.Server) string {
				v := parseInfo(s.Client(t).Info(ctx, "server").Val())["redis_version"]
				return rewritten(t, s.Addr(), "redis_version:"+v, "redis_version:5"+strings.Repeat(".", 1)+strings.Repeat("0", len(v)-2))
			},
			plan: func(p *Plan) { p.Only = []string{"02"} },
			id:   "02", level: Failure, says: "Redis 5",
		},
		"another type": {
			make: func(t *testing.T, s *redistest.Server) string {
				hold(t, s, "gpu")
				client := s.Client(t)
				client.Del(ctx, "passbuddy-gpu")
				client.Set(ctx, "passbuddy-gpu", "x", 0)
				return s.Addr()
			},
			id: "40", level: Failure, says: "gpu: the key is something else",
		},
		"a pause": {
			make: func(t *testing.T, s *redistest.Server) string {
				hold(t, s, "gpu")
				if err := open(t, s).Pause(ctx, "gpu"); err != nil {
					t.Fatal(err)
				}
				return s.Addr()
			},
			id: "40", level: Info, says: "gpu: paused",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t, tc.args...)
			addr := server.Addr()
			if tc.make != nil {
				addr = tc.make(t, server)
			}
			var change []func(*Plan)
			if tc.plan != nil {
				change = append(change, tc.plan)
			}
			found := examined(t, addr, change...)
			if f := found[tc.id]; f.Level != tc.level || !strings.Contains(f.Found, tc.says) {
				t.Errorf("check %s found %+v", tc.id, f)
			}
			for id, f := range found {
				if id != tc.id && (id != "12" || f.Level != Info) && (tc.id != "04" || f.Level != Unknown) {
					t.Errorf("also %+v", f)
				}
			}
		})
	}
}

func TestAReplicaIsFound(t *testing.T) {
	t.Parallel()
	master := start(t)
	_, port, _ := net.SplitHostPort(master.Addr())
	replica := start(t, "--replicaof", "127.0.0.1", port)
	found := examined(t, replica.Addr(), func(p *Plan) { p.Only = []string{"03"} })
	if f := found["03"]; f.Level != Failure || !strings.Contains(f.Found, "replica of 127.0.0.1:"+port) {
		t.Errorf("%+v", f)
	}
	redistest.Eventually(t, "the master knows of it", func(ctx context.Context) error {
		if info := parseInfo(master.Client(t).Info(ctx, "replication").Val()); !strings.Contains(info["slave0"], "state=online") {
			return fmt.Errorf("%v", info)
		}
		return nil
	})
	if f := examined(t, master.Addr(), func(p *Plan) { p.Only = []string{"13"} })["13"]; f.Level != Info || !strings.Contains(f.Do, "MinReplicas: 1") {
		t.Errorf("%+v", f)
	}
}

func TestWhatTheServerDoesNotTellIsUnknown(t *testing.T) {
	t.Parallel()
	server := start(t)
	allow(t, server, "-config", "-slowlog", "-info")
	for id, f := range examined(t, "user:pw@"+server.Addr()) {
		if f.Level != Unknown {
			t.Errorf("%s: %+v", id, f)
		}
	}
}

func TestNobodyAnswers(t *testing.T) {
	t.Parallel()
	found := examined(t, "127.0.0.1:1")
	if len(found) != 1 || found["01"].Level != Failure {
		t.Errorf("%v", found)
	}
	server := start(t)
	if f := examined(t, "user:wrong@"+server.Addr())["01"]; f.Level != Failure || !strings.Contains(f.Do, "password") || strings.Contains(f.Found, "wrong@") {
		t.Errorf("%+v", f)
	}
}

func TestAClockThatJumpsIsFound(t *testing.T) {
	begin := time.Now()
	samples := func(step func(i int) time.Duration) (list []sample) {
		for i := range 100 {
			sent := begin.Add(time.Duration(i) * 10 * time.Millisecond)
			trip := time.Duration(1+i%7) * 100 * time.Microsecond
			list = append(list, sample{sent: sent, received: sent.Add(trip), server: sent.Round(0).Add(trip/2 + step(i))})
		}
		return list
	}
	after := func(n int, by time.Duration) func(int) time.Duration {
		return func(i int) time.Duration {
			if i >= n {
				return by
			}
			return 0
		}
	}
	for by, want := range map[time.Duration]Level{
		0: OK, 500 * time.Microsecond: OK, 5 * time.Millisecond: Failure, -5 * time.Millisecond: Failure, time.Hour: Failure, -time.Hour: Failure,
	} {
		if f := judgeClock(samples(after(50, by)))[0]; f.Level != want {
			t.Errorf("a step of %v: %+v", by, f)
		}
	}
	if f := judgeClock(samples(func(int) time.Duration { return 2 * time.Second }))[0]; f.Level != Warning || !strings.Contains(f.Found, "2s ahead") {
		t.Errorf("%+v", f)
	}
}

func TestOnlyTheChecksThatAreAskedForAreCarriedOut(t *testing.T) {
	t.Parallel()
	server := start(t)
	var ids []string
	p := Plan{URL: "redis://" + server.Addr(), Prefix: "passbuddy", TTL: 15 * time.Second, Duration: 50 * time.Millisecond, Timeout: 5 * time.Second, Only: []string{"10", "11"}, Skip: []string{"11"}}
	if err := Examine(t.Context(), p, func(f Finding) { ids = append(ids, f.ID) }); err != nil || !slices.Equal(ids, []string{"01", "10"}) {
		t.Errorf("%v (%v)", ids, err)
	}
}

func allow(t *testing.T, s *redistest.Server, but ...string) {
	t.Helper()
	args := []any{"ACL", "SETUSER", "user", "on", ">pw", "~*", "&*", "+@all"}
	for _, b := range but {
		args = append(args, b)
	}
	if err := s.Client(t).Do(t.Context(), args...).Err(); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, s *redistest.Server) *lease.Manager {
	t.Helper()
	m, err := lease.New(s.Client(t), lease.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func hold(t *testing.T, s *redistest.Server, name string) {
	t.Helper()
	sem, err := open(t, s).Semaphore(lease.Config{Name: name, Capacity: 1})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sem.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// rewritten is a proxy that replaces a text in what the server says by one that is as long.
func rewritten(t *testing.T, addr, old, replacement string) string {
	t.Helper()
	if len(old) != len(replacement) {
		t.Fatalf("%q and %q differ in length", old, replacement)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", addr)
			if err != nil {
				_ = client.Close()
				continue
			}
			go func() { _, _ = io.Copy(server, client); _ = server.Close() }()
			go func() {
				defer client.Close()
				buffer := make([]byte, 64<<10)
				for {
					n, err := server.Read(buffer)
					if _, werr := client.Write(bytes.ReplaceAll(buffer[:n], []byte(old), []byte(replacement))); err != nil || werr != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}
