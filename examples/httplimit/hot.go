package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/examples/internal/demo"
	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasehttp"
)

// A hot path: its requests take hardly any time, so that the limit is most of what they cost. There is room for all.
const (
	hotClients = 12
	hotLasts   = time.Second
)

func hotConfig(linger time.Duration) lease.Config {
	return lease.Config{Name: "example-httplimit-hot", Capacity: 64, TTL: 3 * time.Second, Linger: linger}
}

// hotPath shows the same load without and with Linger.
func hotPath(ctx context.Context, out io.Writer, r *demo.Redis) error {
	fmt.Fprintf(out, "\nA hot path: %d clients ask the %d servers without a pause, for work that takes no time, with room for all.\n\n", hotClients, servers)
	fmt.Fprintf(out, "%-16s %12s %22s\n", "", "requests/s", "commands per request")
	for _, linger := range []time.Duration{0, 20 * time.Millisecond} {
		served, commands, err := hot(ctx, r, linger)
		if err != nil {
			return err
		}
		name := "Linger " + linger.String()
		if linger == 0 {
			name = "without Linger"
		}
		fmt.Fprintf(out, "%-16s %12.0f %22.2f\n", name, float64(served)/hotLasts.Seconds(), float64(commands)/float64(max(served, 1)))
	}
	return nil
}

// hot runs the load, and returns how many requests were served, and how many commands were sent to Redis.
func hot(ctx context.Context, r *demo.Redis, linger time.Duration) (served, commands int64, err error) {
	sent := &counter{}
	var urls []string
	for range servers {
		client := r.Client()
		defer client.Close()
		client.AddHook(sent)
		manager, err := lease.New(client, lease.Options{Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return 0, 0, err
		}
		defer manager.Close()
		semaphore, err := manager.Semaphore(hotConfig(linger))
		if err != nil {
			return 0, 0, err
		}
		server := httptest.NewServer(leasehttp.Limit(semaphore, leasehttp.Options{})(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
		defer server.Close()
		urls = append(urls, server.URL)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: hotClients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	ctx, end := context.WithTimeout(ctx, hotLasts)
	defer end()
	var n atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	for c := range hotClients {
		all.Go(func() {
			for i := c; ctx.Err() == nil; i++ {
				resp, err := client.Get(urls[i%len(urls)])
				if err == nil {
					_ = resp.Body.Close()
					if resp.StatusCode != http.StatusOK {
						err = fmt.Errorf("status %s", resp.Status)
					}
				}
				if err != nil {
					failed.Store(&err)
					return
				}
				n.Add(1)
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return 0, 0, *err
	}
	return n.Load(), sent.n.Load(), nil
}

// A counter counts the commands that a client sends.
type counter struct{ n atomic.Int64 }

// DialHook changes nothing.
func (c *counter) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook counts a command.
func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.n.Add(1)
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook counts the commands of a pipeline.
func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.n.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}
