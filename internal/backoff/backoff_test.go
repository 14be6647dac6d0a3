package backoff

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"
)

func TestDelayDoublesUpToItsMaximum(t *testing.T) {
	p := Policy{Min: 10 * time.Millisecond, Max: 50 * time.Millisecond}
	for failures, want := range map[int]time.Duration{
		0: 10 * time.Millisecond, 1: 10 * time.Millisecond, 2: 20 * time.Millisecond, 3: 40 * time.Millisecond,
		4: 50 * time.Millisecond, 1 << 40: 50 * time.Millisecond,
	} {
		if got := p.Delay(failures, 0); got != want {
			t.Errorf("after %d failures %v, want %v", failures, got, want)
		}
	}
}

func TestJitterTakesUpToHalfAway(t *testing.T) {
	p := Policy{Min: 10 * time.Millisecond, Max: time.Second}
	if got := p.Delay(1, 0.5); got != 7500*time.Microsecond {
		t.Errorf("%v", got)
	}
	if got := p.Delay(1, 0.999); got < 5*time.Millisecond || got > 5010*time.Microsecond {
		t.Errorf("%v", got)
	}
}

func TestSleepLastsItsTimeOrUntilTheContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		if err := Sleep(context.Background(), clock.New(), time.Minute); err != nil || time.Since(start) != time.Minute {
			t.Errorf("slept %v: %v", time.Since(start), err)
		}
		why := errors.New("enough")
		ctx, cancel := context.WithCancelCause(context.Background())
		time.AfterFunc(time.Second, func() { cancel(why) })
		start = time.Now()
		if err := Sleep(ctx, clock.New(), time.Hour); err != why || time.Since(start) != time.Second {
			t.Errorf("slept %v: %v", time.Since(start), err)
		}
		if err := Sleep(ctx, clock.New(), 0); err != why {
			t.Errorf("no sleep, and the context has ended: %v", err)
		}
	})
}
