package lease_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/eqworks/passbuddy/lease"
)

func isMember() bool { return os.Getenv(memberEnv) != "" }

// beMember is a member's life.
func beMember() {
	var (
		manager   *lease.Manager
		semaphore *lease.Semaphore
		judge     *judge
		slot      int
		stop      = make(chan struct{})
		leases    sync.Map // by key
		out       sync.Mutex
	)
	ctx, cancel := context.WithCancel(context.Background())
	carryOut := func(o order) (a report, err error) {
		switch o.Do {
		case "open":
			slot = o.Slot
			if judge, err = openJudge(o.Judge); err != nil {
				return a, err
			}
			if manager, err = lease.Open(o.URL, lease.Options{Logger: quiet}); err != nil {
				return a, err
			}
			if semaphore, err = manager.Semaphore(o.Config); err != nil {
				return a, err
			}
			return a, manager.Ping(ctx)
		case "work":
			return work(ctx, semaphore, judge, slot, o, stop)
		case "stop":
			close(stop)
		case "hold":
			l, err := semaphore.Acquire(ctx, lease.Weight(max(o.Weight, 1)))
			a.At = time.Now().UnixNano()
			if err != nil {
				return a, err
			}
			judge.enter(slot)
			leases.Store(o.Key, l)
			a.ID, a.Token = l.ID(), l.Token()
		case "release":
			v, ok := leases.LoadAndDelete(o.Key)
			if !ok {
				return a, fmt.Errorf("no lease %q", o.Key)
			}
			judge.leave(slot)
			a.At = time.Now().UnixNano()
			err = v.(*lease.Lease).Release()
		case "end": // answers when the lease has ended
			v, ok := leases.Load(o.Key)
			if !ok {
				return a, fmt.Errorf("no lease %q", o.Key)
			}
			l := v.(*lease.Lease)
			<-l.Held().Done()
			a.At = time.Now().UnixNano()
			var lost *lease.LostError
			if errors.As(l.Err(), &lost) && lost.Reason == lease.LossRevoked {
				a.Revoked = 1
			}
		case "pop": // the baseline of "hold"
			err = manager.Client().BLPop(ctx, time.Minute, "tokens").Err()
			a.At = time.Now().UnixNano()
		default:
			err = fmt.Errorf("unknown order %q", o.Do)
		}
		return a, err
	}
	orders := json.NewDecoder(bufio.NewReader(os.Stdin))
	answers := json.NewEncoder(os.Stdout)
	for {
		var o order
		if orders.Decode(&o) != nil {
			break
		}
		go func() {
			a, err := carryOut(o)
			a.Number = o.Number
			if err != nil {
				a.Err = err.Error()
			}
			out.Lock()
			defer out.Unlock()
			_ = answers.Encode(a)
		}()
	}
	cancel()
	if manager != nil {
		_ = manager.Close()
	}
	os.Exit(0)
}

// work has callers acquire and release.
func work(ctx context.Context, s *lease.Semaphore, j *judge, slot int, o order, stop <-chan struct{}) (report, error) {
	a := report{Served: make([]int, o.Callers)}
	var lost atomic.Int64
	var failed atomic.Pointer[error]
	var callers sync.WaitGroup
	for i := range o.Callers {
		callers.Go(func() {
			for o.Each == 0 || a.Served[i] < o.Each {
				select {
				case <-stop:
					return
				default:
				}
				before := j.turns(o.Rival)
				l, err := s.Acquire(ctx)
				if trouble := new(lease.RedisError); o.Patient && errors.As(err, &trouble) {
					time.Sleep(10 * time.Millisecond)
					continue
				}
				if err != nil {
					failed.Store(&err)
					return
				}
				j.enter(slot)
				if o.Callers == 1 {
					a.Turns = append(a.Turns, j.turns(o.Rival)-before)
				}
				j.turn(slot, l.Token())
				if o.Section > 0 {
					time.Sleep(o.Section)
				}
				if !l.Valid() {
					lost.Add(1)
				}
				j.leave(slot)
				if err := l.Release(); err != nil && !errors.Is(err, lease.ErrLost) && !o.Patient {
					failed.Store(&err)
					return
				}
				a.Served[i]++
			}
		})
	}
	callers.Wait()
	a.Lost = int(lost.Load())
	if err := failed.Load(); err != nil {
		return a, *err
	}
	return a, nil
}
