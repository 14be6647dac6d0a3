package main

import (
	"context"
	"log/slog"
	"runtime"
	"time"

	"github.com/eqworks/passbuddy/bench/internal/proc"
	"github.com/eqworks/passbuddy/bench/internal/redisserver"
	"github.com/eqworks/passbuddy/lease"
)

// limit is what one measurement may take.
const limit = 5 * time.Minute

func open(url string) (*lease.Manager, error) {
	return lease.Open(url, lease.Options{Logger: slog.New(slog.DiscardHandler)})
}

// heap returns how many bytes are in use after a garbage collection.
func heap() int64 {
	runtime.GC()
	runtime.GC() // the first one only finds what finalizers and weak pointers hold
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// A bout is one measurement: a server, children, and what the server has done.
type bout struct {
	server *redisserver.Server
	team   proc.Team
	cancel context.CancelFunc
}

// begin starts a server and, on it, a child for each of args, of this kind.
func begin[T any](ctx context.Context, kind string, args func(url string) []T) (context.Context, *bout, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	server, err := redisserver.Start(ctx, proc.Anywhere)
	if err != nil {
		cancel()
		return nil, nil, err
	}
	b := &bout{server: server, cancel: cancel}
	var work []proc.Work
	for _, a := range args(server.URL()) {
		work = append(work, proc.Work{Kind: kind, Args: a, Core: proc.Anywhere, Limit: limit})
	}
	if b.team, err = proc.StartTeam(work); err == nil {
		err = b.team.Ready(ctx)
	}
	if err != nil {
		b.end()
		return nil, nil, err
	}
	return ctx, b, nil
}

func (b *bout) end() {
	b.team.Close()
	b.server.Close("")
	b.cancel()
}

// during returns what the server does in d.
func (b *bout) during(ctx context.Context, d time.Duration) (redisserver.Usage, error) {
	before, err := b.server.Usage(ctx)
	if err != nil {
		return before, err
	}
	proc.SleepUntil(proc.Now().Add(d))
	after, err := b.server.Usage(ctx)
	return after.Since(before), err
}
