// Command bench compares this library with what else shares permits on Redis, on the machine that it runs
// on. It starts its own redis-server processes on loopback, runs every contender in child processes, and
// writes tables, plots and raw results. See README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/proc"
	"github.com/eqworks/passbuddy/bench/internal/redisserver"
	"github.com/eqworks/passbuddy/bench/internal/report"
	"github.com/eqworks/passbuddy/bench/internal/workload"
)

const usage = `Usage: go run . [flags]

Compares PassBuddy with its peers. Takes under thirty minutes, with -quick under two.
REDIS_URL names a running Redis to use instead of servers of its own.

`

func main() {
	proc.RunIfChild(workload.Children())
	flag.Usage = func() {
		fmt.Fprint(flag.CommandLine.Output(), usage)
		flag.PrintDefaults()
	}
	quick := flag.Bool("quick", false, "short rounds, one of each: to see that it works, not to compare")
	only := flag.String("only", "", "measure only these workloads, cases and contenders, such as b,passbuddy,blpop or a/256")
	rounds := flag.Int("rounds", 0, "rounds of each workload (default: each its own number)")
	out := flag.String("out", "results", "folder for results.md, plots and results.json")
	list := flag.Bool("list", false, "list workloads, cases and contenders, and end")
	render := flag.Bool("render", false, "measure nothing: write tables and plots again from results.json")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "unknown argument %q; -h lists the flags\n", flag.Arg(0))
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case *list:
		printList()
	case *render:
		err = renderAgain(*out)
	default:
		err = run(ctx, *quick, *only, *rounds, *out)
	}
	if err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures and writes the results.
func run(ctx context.Context, quick bool, only string, rounds int, out string) error {
	b := &workload.Bench{URL: os.Getenv("REDIS_URL"), Quick: quick, Mark: fmt.Sprintf("bench-%d-%d", os.Getpid(), time.Now().Unix())}
	chosen, err := choose(b, only)
	if err != nil {
		return err
	}
	if rounds < 0 {
		return fmt.Errorf("-rounds = %d: must be positive", rounds)
	}
	version, err := redisVersion(ctx, b)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	command := "go run ."
	if quick {
		command += " -quick"
	}
	if only != "" {
		command += " -only " + only
	}
	if rounds > 0 {
		command += " -rounds " + strconv.Itoa(rounds)
	}
	r := &report.Run{
		Started: time.Now(), Quick: quick, Command: command, Machine: machine(), Redis: version,
		Foreign: b.URL != "", Versions: versions(),
	}
	p := &progress{total: count(chosen, rounds)}
	failed := measure(ctx, b, chosen, rounds, r, p)
	if ctx.Err() != nil {
		return errors.New("interrupted; nothing written")
	}
	r.Took = time.Since(r.Started)
	if err := r.Save(filepath.Join(out, "results.json")); err != nil {
		return err
	}
	if err := report.Write(out, r, workload.All(b)); err != nil {
		return err
	}
	fmt.Printf("\n%d measurements in %v; see %s\n", len(r.Records), r.Took.Round(time.Second), filepath.Join(out, "results.md"))
	if failed > 0 {
		return fmt.Errorf("%d measurements failed, see above and in the results", failed)
	}
	return nil
}

// redisVersion sees whether there is a Redis to measure with.
func redisVersion(ctx context.Context, b *workload.Bench) (string, error) {
	var server *redisserver.Server
	var err error
	if b.URL != "" {
		server, err = redisserver.Use(ctx, b.URL)
	} else {
		server, err = redisserver.Start(ctx, proc.Anywhere)
	}
	if err != nil {
		return "", err
	}
	defer server.Close(b.Mark)
	return server.Version(ctx)
}

// renderAgain writes the tables and plots from the raw results of a run before.
func renderAgain(out string) error {
	r, err := report.Load(filepath.Join(out, "results.json"))
	if err != nil {
		return err
	}
	b := &workload.Bench{Quick: r.Quick}
	if r.Foreign {
		b.URL = "redis://elsewhere" // what cannot be measured there is said so
	}
	return report.Write(out, r, workload.All(b))
}

func printList() {
	for _, w := range workload.All(&workload.Bench{}) {
		fmt.Printf("%s  %s\n", w.Key, w.Title)
		for _, c := range w.Cases {
			fmt.Printf("   %-18s %s\n", c.Key, c.Title)
		}
	}
	fmt.Println("\ncontenders")
	for _, c := range contender.All() {
		fmt.Printf("   %-21s %s\n", c.Key, strings.TrimSpace(c.Title))
	}
}
