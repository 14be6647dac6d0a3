// Command scale measures what the library costs as it grows: with many callers that wait for one permit, many names, many
// leases, a large capacity. It starts a Redis of its own on loopback and writes one table for each. Run it in bench:
//
//	go run ./scale          # about seven minutes
//	go run ./scale -quick   # small numbers, half a minute: to see that it works
//
// docs/scale.md has what it wrote on the reference machine, and what follows from it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/eqworks/passbuddy/bench/internal/proc"
	"github.com/eqworks/passbuddy/bench/internal/redisserver"
)

// tables are what is measured, in order.
var tables = []struct {
	key     string
	measure func(ctx context.Context, quick bool) (*table, error)
}{
	{"waiters", measureWaiters},
	{"names", measureNames},
	{"leases", measureLeases},
	{"capacity", measureCapacity},
}

func main() {
	proc.RunIfChild(map[string]func(*proc.Child, json.RawMessage) error{
		"waiters": proc.Kind(waitersChild),
		"names":   proc.Kind(namesChild),
		"leases":  proc.Kind(leasesChild),
	})
	quick := flag.Bool("quick", false, "small numbers: to see that it works")
	only := flag.String("only", "", "only these tables: waiters, names, leases, capacity")
	out := flag.String("out", "results", "folder for scale.md")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "unknown argument %q; -h lists the flags\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *quick, *only, *out); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "scale:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, quick bool, only, out string) error {
	wanted, err := choose(only)
	if err != nil {
		return err
	}
	server, err := redisserver.Start(ctx, proc.Anywhere)
	if err != nil {
		return err
	}
	version, err := server.Version(ctx)
	server.Close("")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	var text bytes.Buffer
	fmt.Fprintf(&text, "Redis %s and all processes share %d cores; %s.\n", version, runtime.NumCPU(), runtime.Version())
	start := time.Now()
	for _, t := range tables {
		if !slices.Contains(wanted, t.key) {
			continue
		}
		result, err := t.measure(ctx, quick)
		if ctx.Err() != nil {
			return errors.New("interrupted; nothing written")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", t.key, err)
		}
		result.write(&text)
	}
	fmt.Fprintf(&text, "\nMeasured in %v.\n", time.Since(start).Round(time.Second))
	return os.WriteFile(filepath.Join(out, "scale.md"), text.Bytes(), 0o644)
}

// choose returns the tables that only names, or all.
func choose(only string) ([]string, error) {
	var known []string
	for _, t := range tables {
		known = append(known, t.key)
	}
	if only == "" {
		return known, nil
	}
	wanted := strings.Split(only, ",")
	for _, w := range wanted {
		if !slices.Contains(known, w) {
			return nil, fmt.Errorf("-only: there is no table %q; there are %s", w, strings.Join(known, ", "))
		}
	}
	return wanted, nil
}
