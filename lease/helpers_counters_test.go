package lease_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// What a real server says about its own work.

// commands counts what the server has executed, inside scripts too.
func commands(b testing.TB, client *redis.Client) int64 {
	info, err := client.Info(context.Background(), "commandstats").Result()
	if err != nil {
		b.Fatal(err)
	}
	var total int64
	for line := range strings.Lines(info) {
		_, rest, found := strings.Cut(line, ":calls=")
		if !found || strings.HasPrefix(line, "cmdstat_info") {
			continue
		}
		n, _, _ := strings.Cut(rest, ",")
		calls, err := strconv.ParseInt(n, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		total += calls
	}
	return total
}

// calls is how often the server has executed a command.
func calls(t testing.TB, client *redis.Client, command string) int64 {
	t.Helper()
	return statOf(t, client, command, "calls")
}

// statOf is a number of INFO commandstats, 0 where the command never ran.
func statOf(t testing.TB, client *redis.Client, command, field string) int64 {
	t.Helper()
	info, err := client.Info(context.Background(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(info) {
		name, fields, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name != "cmdstat_"+command {
			continue
		}
		for _, f := range strings.Split(fields, ",") {
			var n int64
			if _, err := fmt.Sscanf(f, field+"=%d", &n); err == nil {
				return n
			}
		}
	}
	return 0
}

// serverTime is for how many µs the server has run scripts, with all that they call.
func serverTime(t testing.TB, client *redis.Client) int64 {
	return statOf(t, client, "evalsha", "usec")
}

// processorTime is what the server has used.
func processorTime(t *testing.T, admin *redis.Client) time.Duration {
	t.Helper()
	info, err := admin.Info(context.Background(), "cpu").Result()
	if err != nil {
		t.Fatal(err)
	}
	var used float64 // seconds
	for line := range strings.Lines(info) {
		var user, system float64
		_, _ = fmt.Sscanf(line, "used_cpu_user:%f", &user)
		_, _ = fmt.Sscanf(line, "used_cpu_sys:%f", &system)
		used += user + system
	}
	return time.Duration(used * float64(time.Second))
}

// infoOf is a number of a section of INFO.
func infoOf(t testing.TB, client *redis.Client, section, field string) (n int64) {
	text, err := client.Info(context.Background(), section).Result()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		_, _ = fmt.Sscanf(line, field+":%d", &n)
	}
	return n
}

// longest is how long the server's longest command took since the last call, and which it was.
func longest(t *testing.T, admin *redis.Client) (most time.Duration, what string) {
	t.Helper()
	ctx := context.Background()
	logged, err := admin.SlowLogGet(ctx, -1).Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range logged {
		if name := l.Args[0]; l.Duration > most && (name == "evalsha" || name == "eval") {
			most, what = l.Duration, name
		}
	}
	admin.Do(ctx, "SLOWLOG", "RESET")
	return most, what
}
