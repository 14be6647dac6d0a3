package contender

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// Local is semaphore.Weighted: what permits cost inside one process, without Redis.
func Local() Contender {
	return Contender{
		Key:     "local",
		Title:   "semaphore.Weighted, local",
		Module:  "golang.org/x/sync",
		Waits:   "in memory",
		OneHost: true,
		Open:    func(Options) (Client, error) { return &local{semaphores: map[string]localSemaphore{}}, nil },
	}
}

type local struct {
	mu         sync.Mutex
	semaphores map[string]localSemaphore
}

func (c *local) Semaphore(name string, capacity int) (Semaphore, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.semaphores[name]
	if !ok {
		s = localSemaphore{semaphore.NewWeighted(int64(capacity))}
		c.semaphores[name] = s
	}
	return s, nil
}

func (c *local) Close() error { return nil }

type localSemaphore struct{ *semaphore.Weighted }

func (s localSemaphore) Acquire(ctx context.Context) (Permit, error) {
	if err := s.Weighted.Acquire(ctx, 1); err != nil {
		return nil, err
	}
	return localPermit{s.Weighted}, nil
}

type localPermit struct{ semaphore *semaphore.Weighted }

func (localPermit) Lost() <-chan struct{} { return nil }

func (p localPermit) Release() error {
	p.semaphore.Release(1)
	return nil
}
