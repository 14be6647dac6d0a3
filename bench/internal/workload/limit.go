package workload

import (
	"context"
	"fmt"
	"math"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/proc"
	"github.com/eqworks/passbuddy/bench/internal/redisserver"
)

// limit is workload (f): what the server alone can do with each contender's commands.
func limit(b *Bench) Workload {
	w := Workload{
		Key:   "f",
		Title: "The server's own limit",
		About: "The commands of one acquire and one release, as the contender sends them (recorded with MONITOR), sent " +
			"again by two connections in deep pipelines, so that the server is the limit. The server must do the same " +
			"for each of them as it did for the contender. redis-benchmark: the acquire alone, each on a name of its " +
			"own, where redis-benchmark is there and the acquire is one command. What a contender sends beside, such as reads for client-side " +
			"caching, is not in it. Ratios are to two plain EVALSHA.",
		Rounds: choose(b, 3, 1),
		Columns: []Column{
			{Metric: "pairs", Heading: "pairs/s", Unit: Rate, Ratio: true},
			{Metric: "server", Heading: "server CPU/pair", Unit: Duration, Ratio: true},
			{Metric: "commands", Heading: "commands/pair"},
			{Metric: "benchmark", Heading: "redis-benchmark: acquires/s", Unit: Rate, Ratio: true},
		},
	}
	c := Case{
		Key: "f/limit", Title: "pairs in deep pipelines", Baseline: "two-evalsha", measure: measureLimit,
		Contenders: []string{"two-evalsha", "passbuddy", "setnx", "sortedset", "blpop", "rueidislock-1", "rueidislock", "redsync", "redislock"},
	}
	if b.URL != "" {
		c.Skip = "it needs a server of its own to drive to its limit"
	}
	w.Cases = []Case{c}
	return w
}

// A recording is what a contender sends for one pair.
type recording struct {
	acquire, release []redisserver.Command
	executed         map[string]float64 // calls of each command by the server, those in scripts too
}

func measureLimit(ctx context.Context, b *Bench, c contender.Contender) (Metrics, error) {
	d := choose(b, time.Second, 150*time.Millisecond)
	ctx, cancel := context.WithTimeout(ctx, 2*d+overhead)
	defer cancel()
	server, err := redisserver.Start(ctx, proc.Anywhere)
	if err != nil {
		return nil, err
	}
	defer server.Close(b.Mark)
	names := [2]string{placeholder, strings.Replace(placeholder, "00", "01", 1)}
	for _, name := range names {
		if err := prepare(ctx, c, server.URL(), name, 1); err != nil {
			return nil, err
		}
	}
	pair, err := recordPair(ctx, server, c)
	if err != nil {
		return nil, err
	}
	once := slices.Concat(pair.acquire, pair.release)
	var loads [][]redisserver.Command
	for _, name := range names {
		loads = append(loads, redisserver.Replace(once, placeholder, name))
	}
	before, err := server.Calls(ctx)
	if err != nil {
		return nil, err
	}
	used, err := server.Usage(ctx)
	if err != nil {
		return nil, err
	}
	rounds, elapsed, err := server.Drive(ctx, loads, d)
	if err != nil {
		return nil, err
	}
	usedAfter, err := server.Usage(ctx)
	if err != nil {
		return nil, err
	}
	after, err := server.Calls(ctx)
	if err != nil {
		return nil, err
	}
	if err := sameWork(pair.executed, before, after, float64(rounds)); err != nil {
		return nil, err
	}
	u := usedAfter.Since(used)
	m := Metrics{
		"pairs":    float64(rounds) / elapsed.Seconds(),
		"server":   float64(u.CPU) / float64(rounds),
		"commands": float64(u.Commands) / float64(rounds),
	}
	if _, err := exec.LookPath("redis-benchmark"); err == nil && c.Prepare == nil && len(pair.acquire) == 1 {
		rps, err := server.RedisBenchmark(ctx, pair.acquire[0], placeholder, choose(b, 200_000, 20_000))
		if err != nil {
			return nil, err
		}
		m["benchmark"] = rps
	}
	return m, nil
}

// placeholder is the name of the semaphore in what is recorded. redis-benchmark's own placeholder has the
// same length.
const placeholder = "000000000000"

// settle is how long commands may follow that nobody waits for.
const settle = 20 * time.Millisecond

// recordPair has a child acquire and release twice, by two clients, and records the second time: scripts
// are loaded then, and the client has not told the server yet until when its commands are good.
func recordPair(ctx context.Context, server *redisserver.Server, c contender.Contender) (recording, error) {
	var pair recording
	team, err := proc.StartTeam([]proc.Work{{
		Kind:  "limit",
		Args:  side{c.Key, contender.Options{URL: server.URL(), Callers: 1}, placeholder},
		Core:  proc.Anywhere,
		Limit: overhead,
	}})
	if err != nil {
		return pair, err
	}
	defer team.Close()
	if err := team.Ready(ctx); err != nil {
		return pair, err
	}
	before, err := server.Calls(ctx)
	if err != nil {
		return pair, err
	}
	for _, commands := range []*[]redisserver.Command{&pair.acquire, &pair.release} {
		*commands, err = server.Record(ctx, func() error {
			if err := team[0].Send("next"); err != nil {
				return err
			}
			err := team.Ready(ctx)
			time.Sleep(settle)
			return err
		})
		if err != nil {
			return pair, err
		}
		if len(*commands) == 0 {
			return pair, fmt.Errorf("%s sent nothing that could be recorded", c.Key)
		}
	}
	after, err := server.Calls(ctx)
	if err != nil {
		return pair, err
	}
	pair.executed = map[string]float64{}
	for command, calls := range after {
		if n := calls - before[command]; n > 0 {
			pair.executed[command] = float64(n)
		}
	}
	return pair, nil
}

// sameWork returns an error if the server did not execute the same commands for each of rounds pairs as
// it did for the one that was recorded.
func sameWork(once map[string]float64, before, after map[string]int64, rounds float64) error {
	for command, calls := range after {
		each := float64(calls-before[command]) / rounds
		if want := once[command]; math.Abs(each-want) > 0.1*max(want, 1) {
			return fmt.Errorf("sent again, the commands do something else: %s is called %.2f times for a pair, not %.0f times",
				command, each, want)
		}
	}
	return nil
}

// limitChild makes two pairs, each by a client of its own, and the second one step by step.
func limitChild(line *proc.Child, s side) error {
	ctx := context.Background()
	pair := func(step func() error) error {
		_, client, err := s.open()
		if err != nil {
			return err
		}
		defer client.Close()
		semaphore, err := client.Semaphore(s.Name, 1)
		if err != nil {
			return err
		}
		if err := step(); err != nil {
			return err
		}
		permit, err := semaphore.Acquire(ctx)
		if err != nil {
			return err
		}
		if err := step(); err != nil {
			return err
		}
		if err := permit.Release(); err != nil {
			return err
		}
		return step()
	}
	pause := func() error { // as long as the recorded pair takes: what is held for a moment may go back by other means
		time.Sleep(settle)
		return nil
	}
	if err := pair(pause); err != nil {
		return err
	}
	return pair(func() error {
		if err := line.Send("ready"); err != nil {
			return err
		}
		var next string
		return line.Receive(&next)
	})
}
