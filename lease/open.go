package lease

import (
	"context"
	"net/url"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/lease/scripts"
)

// Open makes a manager and its client from a URL, as go-redis parses it:
//
//	redis://user:password@host:6379/0     rediss:// for TLS, unix:///path/to/socket
//	redis://sentinel:26379/0?master_name=mymaster&addr=sentinel2:26379
//	redis://node1:6379?addr=node2:6379&addr=node3:6379      Cluster; one node: ?cluster=true
//
// A context bounds every call (ContextTimeoutEnabled). Dialling takes three seconds at most and is not
// repeated, unless the URL says otherwise (dial_timeout, dialer_retries). It does no I/O; see Ping. The
// client is closed by Close.
func Open(rawURL string, opts Options) (*Manager, error) {
	client, err := openClient(rawURL)
	if err != nil {
		return nil, err
	}
	m, err := New(client, opts)
	if err != nil {
		_ = client.Close()
		return nil, err
	}
	m.owned = true
	return m, nil
}

func openClient(rawURL string) (redis.UniversalClient, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, &OptionError{"URL", redact(rawURL), "cannot be parsed; use redis://host:6379/0"}
	}
	shown := "…" // a password may stand anywhere but in the host
	if u.Host != "" {
		shown = u.Scheme + "://" + u.Host
	}
	refuse := func(err error) error {
		problem := strings.TrimPrefix(err.Error(), "redis: ")
		if strings.Contains(problem, "database number") || strings.Contains(problem, "URL path") {
			problem = "the path must be a database number"
		}
		return &OptionError{"URL", shown, problem}
	}
	switch u.Scheme {
	case "redis", "rediss", "unix":
	default:
		return nil, &OptionError{"URL", shown, "unknown scheme; use redis://, rediss:// or unix://"}
	}
	if u.Opaque != "" || u.Host == "" && u.Scheme != "unix" {
		return nil, &OptionError{"URL", shown, "names no host; use redis://host:6379/0"}
	}
	q := u.Query()
	switch {
	case q.Has("master_name"):
		o, err := redis.ParseFailoverURL(rawURL)
		if err != nil {
			return nil, refuse(err)
		}
		honest(&o.ContextTimeoutEnabled, &o.DialTimeout, &o.DialerRetries)
		return redis.NewFailoverClient(o), nil
	case q.Has("cluster") || q.Has("addr"):
		if v := q.Get("cluster"); q.Has("cluster") && v != "true" {
			return nil, &OptionError{"URL", shown, "cluster can only be true"}
		}
		q.Del("cluster")
		u.RawQuery = q.Encode()
		o, err := redis.ParseClusterURL(u.String())
		if err != nil {
			return nil, refuse(err)
		}
		honest(&o.ContextTimeoutEnabled, &o.DialTimeout, &o.DialerRetries)
		o.MaintNotificationsConfig = unmaintained()
		return redis.NewClusterClient(o), nil
	default:
		o, err := redis.ParseURL(rawURL)
		if err != nil {
			return nil, refuse(err)
		}
		honest(&o.ContextTimeoutEnabled, &o.DialTimeout, &o.DialerRetries)
		o.MaintNotificationsConfig = unmaintained()
		return redis.NewClient(o), nil
	}
}

// honest sets what makes a call return when its context ends, and a refused connection be an error at
// once: the renewer tries again by itself.
func honest(contextTimeout *bool, dialTimeout *time.Duration, dialerRetries *int) {
	*contextTimeout = true
	if *dialTimeout == 0 {
		*dialTimeout = 3 * time.Second
	}
	if *dialerRetries == 0 {
		*dialerRetries = 1
	}
}

// unmaintained turns maintenance notifications off: go-redis holds a lock of the whole client while a new
// connection asks for them, so that one which hangs would hold up the rest. Failover clients have none.
func unmaintained() *maintnotifications.Config {
	return &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}

// redact shows no more of an URL that cannot be parsed than its scheme: it may hold a password.
func redact(rawURL string) string {
	scheme, _, found := strings.Cut(rawURL, "://")
	if !found {
		return "…"
	}
	return scheme + "://…"
}

// Ping reports whether the manager can work: Redis is reachable, it is new enough, and its user may run
// the scripts and what they call. It takes, renews and releases a permit of a semaphore named "#ping",
// whose fencing token stays for a day. On a Cluster it does so on the node that has this name, and pings every master. It
// warns in the log when Redis may evict keys.
// It waits until ctx ends, and for five seconds where ctx has no deadline. It returns a *RedisError.
func (m *Manager) Ping(ctx context.Context) error {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, pingTimeout, errUnanswered)
		defer cancel()
	}
	done := make(chan error, 1)
	go func() { done <- m.ping(ctx) }() // a client may not let a context bound its calls
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return &RedisError{Op: "ping", Name: pingName, Err: context.Cause(ctx)}
	}
}

const pingTimeout = 5 * time.Second

func (m *Manager) ping(ctx context.Context) error {
	m.mu.Lock()
	closed := m.closed
	m.mu.Unlock()
	if closed {
		return ErrClosed
	}
	fail := func(err error) error { return &RedisError{Op: "ping", Name: pingName, Err: err} }
	cfg, err := Config{Name: pingName, Capacity: maxCapacity, TTL: 5 * time.Second}.complete()
	if err != nil {
		return err
	}
	grants := []*protocol.Grant{{ID: m.newID(1, ""), Weight: 1}}
	calls := []protocol.Call{
		{Verb: protocol.Acquire, Grants: grants, Ages: []int64{protocol.Once}},
		{Verb: protocol.Renew, Grants: grants},
		{Verb: protocol.Release, Grants: grants, MayBeQueued: true, Promote: true},
	}
	keys := scripts.KeysOf(m.prefix, cfg.Name, cfg.TTL, cfg.Capacity)
	m.transport.Run(ctx, keys, calls)
	for i := range calls {
		if err := calls[i].Failure.Err; err != nil {
			return fail(err)
		}
	}
	if err := m.transport.Check(ctx, keys); err != nil {
		return fail(err)
	}
	if err := m.transport.PingMasters(ctx); err != nil {
		return fail(err)
	}
	m.warnOfEviction(ctx)
	return nil
}

const pingName = "#ping"

// warnOfEviction reads the memory policy where the user may: a key that is evicted is a permit lost.
func (m *Manager) warnOfEviction(ctx context.Context) {
	info, err := m.client.Info(ctx, "memory").Result()
	if err != nil {
		return
	}
	for line := range strings.Lines(info) {
		policy, found := strings.CutPrefix(strings.TrimSpace(line), "maxmemory_policy:")
		if found && policy != "noeviction" {
			m.warn("", "eviction", "lease: Redis may evict keys; leases can be lost: set maxmemory-policy to noeviction", "maxmemory-policy", policy)
		}
	}
}
