package workload

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/proc"
	"github.com/eqworks/passbuddy/bench/internal/redisserver"
	"golang.org/x/sync/errgroup"
)

// renewEvery is how often each held lease is renewed.
const renewEvery = time.Second

// held is workload (d): what it costs to hold leases.
func held(b *Bench) Workload {
	w := Workload{
		Key:   "d",
		Title: "Leases held, each renewed every second",
		About: "One process holds all leases. CPU is in percent of one core. Goroutines are the most that there were " +
			"above an idle client's, during one more round of renewals. Bytes are of the heap per lease; with its context, after each holder asked how it " +
			"is told of a loss; stacks are those of goroutines per lease. A false loss is a lease that ended although " +
			"nothing was wrong. Ratios are to pipelines of ZADD XX, which tell nobody anything.",
		Rounds: choose(b, 3, 1),
		Columns: []Column{
			{Metric: "client", Heading: "client CPU", Unit: Share, Ratio: true},
			{Metric: "server", Heading: "server CPU", Unit: Share, Ratio: true},
			{Metric: "goroutines", Heading: "goroutines"},
			{Metric: "bytes", Heading: "heap/lease", Unit: Bytes},
			{Metric: "withContext", Heading: "with its context", Unit: Bytes},
			{Metric: "stacks", Heading: "stacks/lease", Unit: Bytes},
			{Metric: "commands", Heading: "commands/renewal"},
			{Metric: "lost", Heading: "false losses", Fold: Total},
		},
	}
	few, many := choose(b, 1000, 100), choose(b, 10_000, 1000)
	for _, c := range []struct{ leases, names int }{{few, 1}, {many, 1}, {few, few}, {many, many}} {
		setting, title := "one-name", fmt.Sprintf("%d leases of one name", c.leases)
		if c.names > 1 {
			setting, title = "own-names", fmt.Sprintf("%d leases, each of its own name", c.leases)
		}
		heldCase := Case{
			Key:      fmt.Sprintf("d/%s/%d", setting, c.leases),
			Title:    title,
			Baseline: "raw-renewal",
			Remarks:  map[string]string{},
			measure: func(ctx context.Context, b *Bench, who contender.Contender) (Metrics, error) {
				return measureHeld(ctx, b, who, c.leases, c.names)
			},
		}
		for _, key := range []string{"raw-renewal", "passbuddy", "rueidislock-1", "rueidislock", "redsync", "redislock"} {
			who, _ := contender.Find(key)
			switch {
			case !who.Renews:
				heldCase.Remarks[key] = "does not renew"
			case who.LockOnly && c.names == 1:
				heldCase.Remarks[key] = "a lock: one lease of a name only"
			case key == "rueidislock" && c.leases == many:
				// Without NOLOOP each renewal is an event that has it renew again: 10,000 are not ready in time.
				heldCase.Remarks[key] = "fewer leases only"
			default:
				heldCase.Contenders = append(heldCase.Contenders, key)
			}
		}
		w.Cases = append(w.Cases, heldCase)
	}
	return w
}

type heldArgs struct {
	side
	Leases, Names int
}

type heldResult struct {
	CPU         time.Duration
	Goroutines  int
	Bytes       int64 // of the heap, of all leases
	WithContext int64
	Stacks      int64
	Lost        int
}

func measureHeld(ctx context.Context, b *Bench, c contender.Contender, leases, names int) (Metrics, error) {
	d := choose(b, 5*time.Second, time.Second)
	ctx, cancel := context.WithTimeout(ctx, d+overhead)
	defer cancel()
	server, err := b.server(ctx, proc.Anywhere)
	if err != nil {
		return nil, err
	}
	defer server.Close(b.Mark)
	options := contender.Options{URL: server.URL(), Callers: acquirers, RenewEvery: renewEvery}
	team, err := proc.StartTeam([]proc.Work{{
		Kind:  "held",
		Args:  heldArgs{side{c.Key, options, b.name()}, leases, names},
		Core:  proc.Anywhere,
		Limit: d + overhead,
	}})
	if err != nil {
		return nil, err
	}
	defer team.Close()
	if err := team.Ready(ctx); err != nil {
		return nil, err
	}
	var usage [2]redisserver.Usage
	if usage[0], err = server.Usage(ctx); err != nil {
		return nil, err
	}
	window, err := team.Go(d)
	if err != nil {
		return nil, err
	}
	proc.SleepUntil(window.Stop)
	if usage[1], err = server.Usage(ctx); err != nil {
		return nil, err
	}
	results, err := proc.Results[heldResult](ctx, team)
	if err != nil {
		return nil, err
	}
	r, used, n := results[0], usage[1].Since(usage[0]), float64(leases)
	return Metrics{
		"client":      r.CPU.Seconds() / d.Seconds(),
		"server":      used.CPU.Seconds() / d.Seconds(),
		"goroutines":  float64(r.Goroutines),
		"bytes":       float64(r.Bytes) / n,
		"withContext": float64(r.WithContext) / n,
		"stacks":      float64(r.Stacks) / n,
		"commands":    float64(used.Commands) / (n * d.Seconds() / renewEvery.Seconds()),
		"lost":        float64(r.Lost),
	}, nil
}

// acquirers is how many goroutines acquire the leases that are to be held.
const acquirers = 64

func heldChild(line *proc.Child, args heldArgs) error {
	c, client, err := args.open()
	if err != nil {
		return err
	}
	ctx := context.Background()
	if _, err := args.semaphores(ctx, c, client, acquirers); err != nil {
		return err
	}
	permits := make([]contender.Permit, args.Leases)
	lost := make([]<-chan struct{}, args.Leases)
	idle, heap, stacks := idleGoroutines(), heapInUse(), stacksInUse()
	if err := args.acquire(ctx, client, permits); err != nil {
		return err
	}
	time.Sleep(renewEvery) // until the last of them has been renewed once
	var r heldResult
	r.Bytes, r.Stacks = heapInUse()-heap, stacksInUse()-stacks
	window, err := line.Ready()
	if err != nil {
		return err
	}
	cpu := proc.CPU()
	proc.SleepUntil(window.Stop)
	r.CPU = proc.CPU() - cpu
	// Counting costs more than the renewals of some: it has a time of its own.
	for end := proc.Now().Add(renewEvery * 11 / 10); proc.Now() < end; time.Sleep(time.Millisecond) {
		r.Goroutines = max(r.Goroutines, runtime.NumGoroutine()-idle)
	}
	for i, p := range permits {
		if lost[i] = p.Lost(); lost[i] == nil {
			continue
		}
		select {
		case <-lost[i]:
			r.Lost++
		default:
		}
	}
	r.WithContext = heapInUse() - heap
	runtime.KeepAlive(permits)
	runtime.KeepAlive(lost)
	if !c.Tells {
		r.WithContext = r.Bytes
	}
	return line.Send(r)
}

// acquire fills permits, spread evenly over the names.
func (a heldArgs) acquire(ctx context.Context, client contender.Client, permits []contender.Permit) error {
	semaphores := make([]contender.Semaphore, a.Names)
	for i := range semaphores {
		var err error
		if semaphores[i], err = client.Semaphore(fmt.Sprintf("%s-%d", a.Name, i), a.Leases/a.Names); err != nil {
			return err
		}
	}
	var group errgroup.Group
	for worker := range acquirers {
		group.Go(func() error {
			for i := worker; i < len(permits); i += acquirers {
				permit, err := semaphores[i%a.Names].Acquire(ctx)
				if err != nil {
					return fmt.Errorf("acquire: %w", err)
				}
				permits[i] = permit
			}
			return nil
		})
	}
	return group.Wait()
}

// idleGoroutines returns how many goroutines are left when all that is under way has ended.
func idleGoroutines() int {
	least := runtime.NumGoroutine()
	for range 10 {
		time.Sleep(50 * time.Millisecond)
		least = min(least, runtime.NumGoroutine())
	}
	return least
}

func heapInUse() int64 {
	runtime.GC()
	runtime.GC() // the first one only finds what finalizers and weak pointers hold
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func stacksInUse() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.StackInuse)
}
