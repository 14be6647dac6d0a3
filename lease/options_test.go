package lease_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
)

func TestConfigsThatCannotWorkAreRefusedByNameAndValue(t *testing.T) {
	m, err := lease.New(unconnected(t), lease.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	for _, tc := range []struct {
		option, value string
		change        func(*lease.Config)
	}{
		{"Config.Name", `""`, func(c *lease.Config) { c.Name = "" }},
		{"Config.Name", "a}b", func(c *lease.Config) { c.Name = "a}b" }},
		{"Config.Name", `"a\nb"`, func(c *lease.Config) { c.Name = "a\nb" }},
		{"Config.Name", `"a\x00b"`, func(c *lease.Config) { c.Name = "a\x00b" }},
		{"Config.Name", `"\xff"`, func(c *lease.Config) { c.Name = "\xff" }},
		{"Config.Name", strings.Repeat("x", 80) + "…", func(c *lease.Config) { c.Name = strings.Repeat("x", 1<<20) }},
		{"Config.Capacity", "0", func(c *lease.Config) { c.Capacity = 0 }},
		{"Config.Capacity", "-3", func(c *lease.Config) { c.Capacity = -3 }},
		{"Config.TTL", "49ms", func(c *lease.Config) { c.TTL = 49 * time.Millisecond }},
		{"Config.TTL", "-1s", func(c *lease.Config) { c.TTL = -time.Second }},
		{"Config.TTL", "25h", func(c *lease.Config) { c.TTL = 25 * time.Hour }},
		{"Config.TTL", "1.0005s", func(c *lease.Config) { c.TTL = time.Second + 500*time.Microsecond }},
		{"Config.Margin", "2.51s", func(c *lease.Config) { c.Margin = 2510 * time.Millisecond }},
		{"Config.Margin", "-1ms", func(c *lease.Config) { c.Margin = -time.Millisecond }},
		{"Config.Margin", "1ms", func(c *lease.Config) { c.Margin = time.Millisecond }},
		{"Config.RetryInterval", "-1s", func(c *lease.Config) { c.RetryInterval = -time.Second }},
		{"Config.MaxAttempts", "-1", func(c *lease.Config) { c.MaxAttempts = -1 }},
		{"Config.MaxHold", "-1s", func(c *lease.Config) { c.MaxHold = -time.Second }},
	} {
		cfg := lease.Config{Name: "x", Capacity: 1}
		tc.change(&cfg)
		_, err := m.Semaphore(cfg)
		t.Run(tc.option+"="+tc.value, func(t *testing.T) { mustRefuse(t, err, tc.option, tc.value) })
	}
}

func TestOptionsThatCannotWorkAreRefusedByNameAndValue(t *testing.T) {
	c := unconnected(t)
	newWith := func(o lease.Options) error { _, err := lease.New(c, o); return err }
	_, err := lease.New(nil, lease.Options{})
	mustRefuse(t, err, "client", "nil")
	_, err = lease.New((*redis.Client)(nil), lease.Options{})
	mustRefuse(t, err, "client", "nil")
	ring := redis.NewRing(&redis.RingOptions{})
	defer ring.Close()
	_, err = lease.New(ring, lease.Options{})
	mustRefuse(t, err, "client", "Ring")
	mustRefuse(t, newWith(lease.Options{Prefix: "a}"}), "Options.Prefix", "a}")
	mustRefuse(t, newWith(lease.Options{Prefix: "a\nb"}), "Options.Prefix", `"a\nb"`)
	mustRefuse(t, newWith(lease.Options{Owner: "me@home"}), "Options.Owner", "me@home")
}

func TestURLsThatCannotWorkAreRefused(t *testing.T) {
	for _, tc := range []struct{ url, part string }{
		{"http://host:6379", "unknown scheme"},
		{"host:6379", "unknown scheme"},
		{"redis://host:6379/zero", "database number"},
		{"redis://host:6379?colour=red", "colour"},
		{"redis://host:6379?cluster=false", "cluster"},
		{"redis://host:port", "cannot be parsed"},
	} {
		_, err := lease.Open(tc.url, lease.Options{})
		if err == nil {
			t.Errorf("%s was accepted", tc.url)
			continue
		}
		mustRefuse(t, err, "URL", tc.part)
	}
	for _, url := range []string{
		"redis://me:secret@host:6379/zero", "redis://me:secret@host:port", "me:secret@host:6379", "redis://secret@h?bogus=1",
		"redis://h?master_name=m&sentinel_password=secret&bogus=1", "redis://h?password=secret", "redis://h/secret",
		"redis:me:secret@host",
	} {
		_, err := lease.Open(url, lease.Options{})
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestOpenMakesTheClientThatTheURLAsksFor(t *testing.T) {
	for _, tc := range []struct {
		url   string
		check func(redis.UniversalClient) bool
	}{
		{"redis://user:pw@host:1/2", func(c redis.UniversalClient) bool {
			o := c.(*redis.Client).Options()
			return o.Addr == "host:1" && o.DB == 2 && o.Username == "user" && o.ContextTimeoutEnabled
		}},
		{"rediss://host:1", func(c redis.UniversalClient) bool { return c.(*redis.Client).Options().TLSConfig != nil }},
		{"unix:///tmp/redis.sock", func(c redis.UniversalClient) bool {
			o := c.(*redis.Client).Options()
			return o.Network == "unix" && o.Addr == "/tmp/redis.sock" && o.ContextTimeoutEnabled
		}},
		{"redis://host:1?master_name=m&addr=host:2", func(c redis.UniversalClient) bool {
			return c.(*redis.Client).Options().Addr == "FailoverClient"
		}},
		{"redis://host:1?addr=host:2", func(c redis.UniversalClient) bool {
			o := c.(*redis.ClusterClient).Options()
			return len(o.Addrs) == 2 && o.ContextTimeoutEnabled
		}},
		{"redis://host:1?cluster=true", func(c redis.UniversalClient) bool { return len(c.(*redis.ClusterClient).Options().Addrs) == 1 }},
	} {
		m, err := lease.Open(tc.url, lease.Options{})
		if err != nil {
			t.Errorf("%s: %v", tc.url, err)
			continue
		}
		if !tc.check(m.Client()) {
			t.Errorf("%s: %T %+v", tc.url, m.Client(), m.Client())
		}
		if err := m.Close(); err != nil {
			t.Errorf("%s: %v", tc.url, err)
		}
	}
}

func TestDefaultsFillInWhatAConfigLeavesOut(t *testing.T) {
	m, err := lease.New(unconnected(t), lease.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s, err := m.Semaphore(lease.Config{Name: "x", Capacity: 2, TTL: 6 * time.Second, MaxWait: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	want := lease.Config{
		Name: "x", Capacity: 2, TTL: 6 * time.Second, Margin: 300 * time.Millisecond,
		RetryInterval: 500 * time.Millisecond, MaxWait: time.Second, Handover: 5 * time.Millisecond,
	}
	if s.Config() != want {
		t.Errorf("config %+v, want %+v", s.Config(), want)
	}
	s, err = m.Semaphore(lease.NodeConfig())
	if err != nil {
		t.Fatal(err)
	}
	if c := s.Config(); c.Name != "semaphore" || c.Capacity != 10 || c.TTL != 5*time.Second || c.MaxAttempts != 5 || c.RetryInterval != 500*time.Millisecond {
		t.Errorf("Node's defaults are %+v", c)
	}
}
