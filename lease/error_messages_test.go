package lease_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

func TestRealRedisErrorsSayWhatToDo(t *testing.T) {
	inRealTime(t)
	server := redistest.Start(t)
	admin := server.Client(t)
	ctx := context.Background()
	as := func(user string) *lease.Manager {
		return opened(t, "open", user+":pw@"+server.Addr())
	}
	allow := func(user string, rules ...any) {
		t.Helper()
		args := append([]any{"ACL", "SETUSER", user, "on", ">pw"}, rules...)
		if err := admin.Do(ctx, args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	keys := []any{"~passbuddy-*", "~{passbuddy-*", "&passbuddy:inbox:*"}

	t.Run("a key of another type", func(t *testing.T) {
		m := opened(t, "open", server.Addr())
		admin.Set(ctx, "passbuddy-taken", "x", 0)
		s, err := m.Semaphore(lease.Config{Name: "taken", Capacity: 1})
		if err != nil {
			t.Fatal(err)
		}
		_, err = s.Acquire(ctx)
		mustSay(t, err, "WRONGTYPE", "choose another Name")
	})
	t.Run("a command that the user may not run", func(t *testing.T) {
		allow("nozadd", append(keys, "+@all", "-zadd")...)
		m := as("nozadd")
		_, err := realSemaphore(t, m, 1).Acquire(ctx)
		mustSay(t, err, "ZADD", "lacks a permission")
		mustSay(t, m.Ping(ctx), "ZADD", "lacks a permission")
	})
	needed := []any{"+evalsha", "+eval", "+time", "+exists", "+get", "+set", "+del", "+pttl", "+pexpire",
		"+zadd", "+zcard", "+zscore", "+zmscore", "+zrange", "+zrangebyscore", "+zrandmember", "+zrem", "+zremrangebyscore",
		"+hget", "+hgetall", "+hset", "+hdel", "+publish", "+subscribe", "+hello", "+ping", "+client"}
	t.Run("Ping names each command that is missing", func(t *testing.T) {
		for i, rule := range needed[2:19] { // those that scripts call
			user := fmt.Sprint("without", i)
			allow(user, append(append(slices.Clone(keys), "-@all"), slices.Concat(needed[:2+i], needed[3+i:])...)...)
			mustSay(t, as(user).Ping(ctx), strings.ToUpper(strings.TrimPrefix(rule.(string), "+")), "lacks a permission")
		}
	})
	t.Run("just the permissions that are needed", func(t *testing.T) {
		allow("just", append(append(slices.Clone(keys), "-@all"), needed...)...)
		m := as("just")
		if err := m.Ping(ctx); err != nil {
			t.Fatal(err)
		}
		l := realAcquire(t, realSemaphore(t, m, 1))
		first := l.TrustedUntil()
		redistest.Eventually(t, "it is renewed", func(context.Context) error {
			if !l.TrustedUntil().After(first) {
				return fmt.Errorf("trusted until %v", first)
			}
			return nil
		})
		if err := l.Release(); err != nil {
			t.Error(err)
		}
	})
	t.Run("an old Redis", func(t *testing.T) {
		old := redistest.Start(t, "--rename-command", "ZADD", "")
		_, err := realSemaphore(t, opened(t, "open", old.Addr()), 1).Acquire(ctx)
		mustSay(t, err, "Redis 6.2 or newer is needed")
	})
	t.Run("nobody there", func(t *testing.T) {
		proxy := redistest.NewProxy(t, server.Addr())
		proxy.Refuse()
		for name := range clients {
			s, err := opened(t, name, proxy.Addr()).Semaphore(lease.Config{Name: "gpu", Capacity: 1})
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Acquire(ctx) // of the TTL by default, which leaves a client its own retries
			var trouble *lease.RedisError
			if !errors.As(err, &trouble) || trouble.Op != "acquire" {
				t.Errorf("%s: %v", name, err)
			}
			mustSay(t, err, "connection refused")
		}
	})
	t.Run("a policy that evicts", func(t *testing.T) {
		evicting := redistest.Start(t, "--maxmemory-policy", "allkeys-lru")
		var log logBuffer
		m, err := lease.Open("redis://"+evicting.Addr(), lease.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		if err := m.Ping(ctx); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(log.String(), "allkeys-lru") || !strings.Contains(log.String(), "noeviction") {
			t.Errorf("logged %q", log.String())
		}
	})
	t.Run("after Close", func(t *testing.T) {
		m := opened(t, "open", server.Addr())
		s := realSemaphore(t, m, 1)
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		_, err := s.Acquire(ctx)
		if !errors.Is(err, lease.ErrClosed) || !errors.Is(m.Ping(ctx), lease.ErrClosed) {
			t.Errorf("Acquire returned %v", err)
		}
	})
	t.Run("two Configs for one living name", func(t *testing.T) {
		m := opened(t, "open", server.Addr())
		s1, err := m.Semaphore(lease.Config{Name: "two", Capacity: 1})
		if err != nil {
			t.Fatal(err)
		}
		s2, err := m.Semaphore(lease.Config{Name: "two", Capacity: 2})
		if err != nil {
			t.Fatal(err)
		}
		l := realAcquire(t, s1)
		if err := realAcquire(t, s2).Release(); err != nil { // each goes by its own
			t.Error(err)
		}
		if _, err := s1.TryAcquire(ctx); !errors.Is(err, lease.ErrAtCapacity) {
			t.Errorf("a second lease by a capacity of 1: %v", err)
		}
		if _, err := m.Semaphore(lease.Config{Name: "two", Capacity: 1, TTL: time.Minute}); err != nil {
			t.Error(err)
		}
		if err := l.Release(); err != nil {
			t.Fatal(err)
		}
		if err := realAcquire(t, s2).Release(); err != nil {
			t.Error(err)
		}
	})
}

func mustSay(t *testing.T, err error, parts ...string) {
	t.Helper()
	var trouble *lease.RedisError
	if !errors.As(err, &trouble) {
		t.Fatalf("%v, want a *RedisError", err)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("%q does not say %q", err, p)
		}
	}
}
