package lease_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/lease"
)

// An eventLog keeps the words of events.
type eventLog struct {
	mu   sync.Mutex
	said []string
}

func (l *eventLog) events() lease.Events {
	say := func(kind string) func(lease.Event) {
		return func(e lease.Event) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.said = append(l.said, fmt.Sprintf("%s %s w%d waited=%v held=%v leases=%d err=%v", kind, e.Name, e.Weight, e.Waited, e.Held, e.Leases, e.Err != nil))
		}
	}
	return lease.Events{
		Waiting: say("waiting"), Acquired: say("acquired"), HandedOver: say("handed over"), Renewed: say("renewed"),
		RenewalFailed: say("renewal failed"), Lost: say("lost"), Released: say("released"), Disagreement: say("disagreement"),
	}
}

func TestEventsReportALeasesLife(t *testing.T) {
	inBubble(t, func(w *world) {
		var log eventLog
		m, host := w.process("a", func(_ *redis.Options, o *lease.Options) { o.Events = log.events() })
		s := w.semaphore(m, 1, func(c *lease.Config) { c.Handover = time.Minute })
		l := w.acquire(s)
		next := make(chan *lease.Lease)
		go func() { next <- w.acquire(s) }()
		time.Sleep(time.Second)
		_ = l.Release() // to the next, in memory
		l = <-next
		time.Sleep(worldTTL / 2)
		host.Partition()
		<-l.Held().Done()
		if !errors.Is(l.Err(), lease.ErrLost) {
			w.Fatal(l.Err())
		}
		synctest.Wait()
		log.mu.Lock()
		defer log.mu.Unlock()
		want := []string{
			"acquired gpu w1 waited=0s held=0s leases=0 err=false",
			"waiting gpu w1 waited=0s held=0s leases=0 err=false",
			"released gpu w1 waited=0s held=1s leases=0 err=false",
			"handed over gpu w1 waited=0s held=0s leases=0 err=false",
			"acquired gpu w1 waited=1s held=0s leases=0 err=false",
			"renewed gpu w0 waited=0s held=0s leases=1 err=false",
		}
		if len(log.said) < len(want)+2 || !slices.Equal(log.said[:len(want)], want) {
			w.Errorf("said:\n%q", log.said)
		}
		if !slices.Contains(log.said, "renewal failed gpu w0 waited=0s held=0s leases=1 err=true") {
			w.Errorf("no word of a renewal that failed:\n%q", log.said)
		}
		if last := log.said[len(log.said)-1]; last[:6] != "lost g" {
			w.Errorf("last: %s", last)
		}
	})
}

func TestEventsThatNobodyListensToCostNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		allocations := func(change ...func(*redis.Options, *lease.Options)) float64 {
			m, _ := w.process("a", change...)
			s := w.semaphore(m, 1000)
			hold := w.acquire(s) // the state lives on
			defer hold.Release()
			return testing.AllocsPerRun(200, func() {
				l, err := s.Acquire(context.Background())
				if err != nil {
					w.Fatal(err)
				}
				_ = l.Release()
			})
		}
		none := allocations()
		some := allocations(func(_ *redis.Options, o *lease.Options) { o.Events.Acquired = func(lease.Event) {} })
		if none >= some {
			w.Errorf("%v allocations without a listener, %v with one: nobody noticed the listener", none, some)
		}
	})
}
