package lease_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

// 6.3.2, a fair semaphore: those who wait, in any process, are served in the order in which they came.
func TestBookFairSemaphoreFirstComeFirstServed(t *testing.T) {
	inBubble(t, func(w *world) {
		holder, _ := w.process("holder")
		l := w.acquire(w.semaphore(holder, 1, noHandover))
		var semaphores []*lease.Semaphore
		for i := range 5 {
			m, _ := w.process(fmt.Sprintf("p%d", i))
			semaphores = append(semaphores, w.semaphore(m, 1, noHandover))
		}
		const waiters = 20
		served := make(chan int, waiters)
		var want []int
		for i := range waiters {
			want = append(want, i)
			go func() {
				l, err := semaphores[i*3%len(semaphores)].Acquire(context.Background())
				if err != nil {
					w.Error(err)
					return
				}
				served <- i
				time.Sleep(time.Millisecond)
				_ = l.Release()
			}()
			time.Sleep(time.Millisecond)
		}
		_ = l.Release()
		var got []int
		for range waiters {
			got = append(got, <-served)
		}
		if !slices.Equal(got, want) {
			w.Errorf("served in the order %v", got)
		}
	})
}
