// Package backoff says how long to wait before the next try.
package backoff

import (
	"context"
	"time"

	"github.com/benbjohnson/clock"
)

// A Policy doubles its delay from Min to Max. Values are immutable and safe for concurrent use.
type Policy struct {
	Min, Max time.Duration
}

// Delay returns the delay after the given number of failures in a row, counted from 1. random is a
// number in [0, 1): it takes up to half of the delay away, so that processes which failed together do
// not come back together ("equal jitter", AWS Architecture Blog, Exponential Backoff And Jitter, 2015).
func (p Policy) Delay(failures int, random float64) time.Duration {
	d := p.Min
	for i := 1; i < failures && d < p.Max; i++ {
		d *= 2
	}
	d = min(d, p.Max)
	return d - time.Duration(random*float64(d)/2)
}

// Sleep waits for d on the given clock. It returns early with the context's cause when ctx ends, and
// leaves no timer behind.
func Sleep(ctx context.Context, c clock.Clock, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	fired := make(chan struct{})
	t := c.AfterFunc(d, func() { close(fired) })
	defer t.Stop()
	select {
	case <-fired:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
