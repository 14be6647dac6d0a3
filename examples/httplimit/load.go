package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/eqworks/passbuddy/examples/internal/demo"
)

// A phase is a time with a number of clients. Each asks one server after the other, and comes back a
// moment after its answer, or as late as a Retry-After says.
type phase struct {
	name    string
	clients int
	lasts   time.Duration
}

const think = 20 * time.Millisecond

// run returns when the phase is over and its last request answered.
func (p phase) run(ctx context.Context, s *site) *score {
	s.most.Store(0)
	transport := &http.Transport{MaxIdleConnsPerHost: p.clients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	score := &score{}
	ctx, end := context.WithTimeout(ctx, p.lasts)
	defer end()
	var all sync.WaitGroup
	for c := range p.clients {
		all.Go(func() {
			for i := c; ctx.Err() == nil; i++ {
				again := score.ask(client, s.urls[i%len(s.urls)])
				demo.Sleep(ctx, again)
			}
		})
	}
	all.Wait()
	score.most = s.most.Load()
	return score
}

// A score is what the clients of a phase saw. Safe for concurrent use.
type score struct {
	mu       sync.Mutex
	served   []time.Duration // how long each took
	shedding []time.Duration // how long it took to say no
	shed     int
	most     int64
	problems []error
}

// ask makes one request and returns when to come again.
func (s *score) ask(client *http.Client, url string) time.Duration {
	start := time.Now()
	resp, err := client.Get(url)
	took := time.Since(start)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.problems = append(s.problems, err)
		return think
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	after, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	switch {
	case resp.StatusCode == http.StatusOK:
		s.served = append(s.served, took)
		return think
	case resp.StatusCode == http.StatusServiceUnavailable && after > 0:
		s.shed++
		s.shedding = append(s.shedding, took)
		return time.Duration(after) * time.Second
	default:
		s.problems = append(s.problems, fmt.Errorf("status %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After")))
		return think
	}
}

func heading(out io.Writer) {
	fmt.Fprintf(out, "%-6s %8s %10s %14s %8s %10s %14s\n", "phase", "clients", "served/s", "p50, p99 ms", "shed/s", "p99 ms", "at a time")
}

func (s *score) print(out io.Writer, p phase) {
	perSecond := func(n int) float64 { return float64(n) / p.lasts.Seconds() }
	fmt.Fprintf(out, "%-6s %8d %10.0f %14s %8.0f %10s %14d\n", p.name, p.clients,
		perSecond(len(s.served)), percentile(s.served, 50)+", "+percentile(s.served, 99),
		perSecond(s.shed), percentile(s.shedding, 99), s.most)
}

// percentile is in whole milliseconds.
func percentile(d []time.Duration, p int) string {
	if len(d) == 0 {
		return "-"
	}
	slices.Sort(d)
	return strconv.FormatInt(d[(len(d)-1)*p/100].Milliseconds(), 10)
}
