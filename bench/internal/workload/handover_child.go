package workload

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/bench/contender"
	"github.com/eqworks/passbuddy/bench/internal/proc"
	"github.com/eqworks/passbuddy/bench/internal/stats"
)

// A handoverSide is one of the two processes. They tell each other through the shared page who holds and
// who waits, so that nothing but the contender's own traffic passes between them and Redis.
type handoverSide struct {
	// immutable
	me        int64 // 1 or 2
	args      handoverArgs
	page      *proc.Page
	watch     *stats.Watch
	semaphore contender.Semaphore
	stop      proc.Instant

	took []float64 // from the other's call of Release until this side held, in nanoseconds
}

func handoverChild(line *proc.Child, args handoverArgs) error {
	c, client, err := args.open()
	if err != nil {
		return err
	}
	page, err := proc.OpenPage(args.Page)
	if err != nil {
		return err
	}
	warm := args.side
	warm.Name = fmt.Sprintf("%s-%d", args.Name, args.Process)
	if _, err := warm.semaphores(context.Background(), c, client, 1); err != nil {
		return err
	}
	semaphore, err := client.Semaphore(args.Name, 1)
	if err != nil {
		return err
	}
	window, err := line.Ready()
	if err != nil {
		return err
	}
	ctx, undo := until(window.Stop, client)
	defer undo()
	if args.Busy {
		stop, err := keepBusy(args.Options.URL)
		if err != nil {
			return err
		}
		defer stop()
	}
	s := &handoverSide{
		me: int64(args.Process + 1), args: args, page: page, watch: watch(page, 1, window.Stop),
		semaphore: semaphore, stop: window.Stop, took: []float64{},
	}
	if err := s.run(ctx); err != nil {
		return err
	}
	return line.Send(s.took)
}

// over reports whether there are enough samples, or no more time.
func (s *handoverSide) over() bool {
	return s.page.Word(wordSamples).Load() >= int64(s.args.Samples) || proc.Now() >= s.stop
}

// await looks at the shared page every millisecond until done, and returns false when it is over first.
// To wait in the kernel would cost the other side a call in the time that is measured.
func (s *handoverSide) await(done func() bool) bool {
	for !done() {
		if s.over() {
			return false
		}
		time.Sleep(time.Millisecond)
	}
	return true
}

// run holds and waits in turn until it is over. Process 1 is the first to hold.
func (s *handoverSide) run(ctx context.Context) error {
	holder, waiting, released := s.page.Word(wordHolder), s.page.Word(wordWaiting), s.page.Word(wordReleased)
	if s.me != 1 && !s.await(func() bool { return holder.Load() != 0 }) {
		return nil
	}
	for !s.over() {
		waiting.Store(s.me)
		permit, err := s.semaphore.Acquire(ctx)
		now := proc.Now()
		if now >= s.stop {
			return nil
		}
		if err != nil {
			return fmt.Errorf("acquire: %w", err)
		}
		if before := s.watch.Enter(s.me); before != 0 {
			s.took = append(s.took, float64(now.Sub(proc.Instant(released.Load()))))
			s.page.Word(wordSamples).Add(1)
		}
		holder.Store(s.me)

		if s.await(func() bool { return waiting.Load() != s.me }) {
			time.Sleep(s.args.Shortest + rand.N(s.args.Longest-s.args.Shortest))
		}
		released.Store(int64(proc.Now()))
		s.watch.Leave()
		if err := permit.Release(); err != nil && proc.Now() < s.stop {
			return fmt.Errorf("release: %w", err)
		}
		if !s.await(func() bool { return holder.Load() != s.me }) {
			return nil
		}
	}
	return nil
}

// keepBusy sends PING, one after another, until stop is called.
func keepBusy(url string) (stop func(), err error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	client := redis.NewClient(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = client.Ping(ctx).Err()
		}
	}()
	return func() {
		cancel()
		<-done
		_ = client.Close()
	}, nil
}
