package cli

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

func manager(t *testing.T, server *redistest.Server) *lease.Manager {
	t.Helper()
	m, err := lease.Open("redis://"+server.Addr(), lease.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

// readID is the id of the only holder.
func readID(t *testing.T, server *redistest.Server, name string) string {
	t.Helper()
	state, err := manager(t, server).Inspect(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if len(state.Holders) != 1 {
		t.Fatalf("%d holders", len(state.Holders))
	}
	return state.Holders[0].ID
}

// heldBy returns a condition: so many permits of the semaphore are held.
func heldBy(server *redistest.Server, name string, n int64) func(context.Context) error {
	return func(ctx context.Context) error {
		client := redis.NewClient(&redis.Options{Addr: server.Addr()})
		defer client.Close()
		got, err := client.ZCard(ctx, "passbuddy-"+name).Result()
		if err == nil && got != n {
			err = fmt.Errorf("%d are held", got)
		}
		return err
	}
}

// isAlive reports whether a process has not ended.
func isAlive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && syscall.Kill(pid, 0) == nil
}

func pidIn(t *testing.T, file string) int {
	t.Helper()
	pid, err := strconv.Atoi(awaitFile(t, file))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}
