package lease

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/backoff"
	"github.com/eqworks/passbuddy/internal/protocol"
	"github.com/eqworks/passbuddy/lease/scripts"
)

const (
	beat   = 250 * time.Millisecond // how long a read may last: nothing else interrupts it
	beats  = 20                     // without a message, before the connection is tested
	silent = 2 * beats              // and before it is given up
)

// A subscriber is this manager's subscription: scripts that other processes run push grants to it. It is
// opened when the first caller waits and closed after a quiet while. It does not make anything true: a
// message that is lost only costs the time until the next poll. Safe for concurrent use.
type subscriber struct {
	// immutable
	manager *Manager
	channel string        // passbuddy:inbox:<owner>
	quiet   time.Duration // without a waiter, before the subscription is closed

	mu      sync.Mutex
	waiting int                // drivers that want pushes
	cancel  context.CancelFunc // ends the goroutine; nil: there is none
	closing quietTimer
	stopped bool
	running sync.WaitGroup

	ignored atomic.Int64 // messages that made no sense
}

// A quietTimer closes the subscription when it fires and nobody has waited since.
type quietTimer struct {
	stop func() bool
	at   int // how often it was set; an old one that fires late does nothing
}

// listen counts a driver in or out.
func (in *subscriber) listen(on bool) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if !on {
		if in.waiting--; in.waiting == 0 && in.cancel != nil {
			in.closing.at++
			set := in.closing.at
			in.closing.stop = in.manager.clock.AfterFunc(in.quiet, func() { in.close(set) }).Stop
		}
		return
	}
	in.waiting++
	if in.closing.stop != nil {
		in.closing.stop()
		in.closing = quietTimer{at: in.closing.at + 1}
	}
	if in.cancel == nil && !in.stopped {
		ctx, cancel := context.WithCancel(in.manager.ctx)
		in.cancel = cancel
		in.running.Go(func() { in.run(ctx) })
	}
}

// close ends the subscription, if the timer that says so is the latest.
func (in *subscriber) close(set int) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.waiting == 0 && in.closing.at == set && in.cancel != nil {
		in.cancel()
		in.cancel, in.closing.stop = nil, nil
	}
}

// stop ends the subscription for good, and waits for its goroutine.
func (in *subscriber) stop() {
	in.mu.Lock()
	in.stopped = true
	if in.closing.stop != nil {
		in.closing.stop()
	}
	if in.cancel != nil {
		in.cancel()
		in.cancel = nil
	}
	in.mu.Unlock()
	in.running.Wait()
}

// run keeps one subscription after the other alive until ctx ends.
func (in *subscriber) run(ctx context.Context) {
	retry := backoff.Policy{Min: 50 * time.Millisecond, Max: 5 * time.Second}
	for failures := 0; ctx.Err() == nil; {
		confirmed, err := in.receive(ctx)
		if ctx.Err() != nil {
			return
		}
		if confirmed {
			failures = 0
		}
		var refused redis.Error
		if errors.As(err, &refused) && !isTransient(err) {
			in.manager.warn("", "subscribe", "lease: this Redis user may not SUBSCRIBE to "+scripts.Channel+"*: waiters learn of free permits by polling only", "error", err)
			failures = max(failures, 6) // no hurry
		}
		failures++
		if backoff.Sleep(ctx, in.manager.clock, retry.Delay(failures, rand.Float64())) != nil {
			return
		}
	}
}

// receive opens a subscription and hands on what comes, until the connection fails or ctx ends. It reports
// whether the subscription was ever confirmed.
func (in *subscriber) receive(ctx context.Context) (confirmed bool, err error) {
	sub := in.manager.client.Subscribe(ctx)
	defer sub.Close()
	if err := sub.Subscribe(ctx, in.channel); err != nil {
		return false, err
	}
	for heard := 0; ctx.Err() == nil; heard++ {
		msg, err := sub.ReceiveTimeout(ctx, beat)
		if err != nil && isTimeout(err) && heard < silent {
			if heard == beats {
				err = sub.Ping(ctx)
			} else {
				err = nil
			}
		}
		if err != nil {
			return confirmed, err
		}
		if msg != nil {
			heard = 0
		}
		switch msg := msg.(type) {
		case *redis.Subscription:
			confirmed = true
			for _, c := range in.manager.all() {
				c.subscribed()
			}
		case *redis.Message:
			in.take(msg.Payload)
		}
	}
	return confirmed, nil
}

// take hands a message to the state that it is for. Anybody may publish anything.
func (in *subscriber) take(payload string) {
	n, ok := scripts.ParseNotification(payload)
	name, ours := strings.CutPrefix(n.Holders, in.manager.prefix+"-")
	if !ok || !ours || !validWeight(n.ID) || !strings.HasSuffix(strings.SplitN(n.ID, "#", 2)[0], "@"+in.manager.owner) {
		in.ignored.Add(1)
		in.manager.warn("", "garbage", "lease: a message in the channel makes no sense and is ignored; does somebody else publish there?", "channel", in.channel, "bytes", len(payload))
		return
	}
	verbs := [...]protocol.Notice{scripts.Granted: protocol.Granted, scripts.Refused: protocol.Refused, scripts.Withdrawn: protocol.Withdrawn}
	in.manager.notified(name, protocol.Notification{Verb: verbs[n.Notice], Expiry: n.Expiry, Token: n.Token, Server: n.ServerTime, ID: n.ID, Weight: weightOf(n.ID)})
}

// notified hands a message to the state of a semaphore. Where there is none, nobody waits any more, and what was
// waited for was given back.
func (m *Manager) notified(name string, p protocol.Notification) {
	m.mu.Lock()
	c := m.drivers[name]
	m.mu.Unlock()
	if c != nil {
		c.notified(p)
	}
}

// IgnoredMessages returns how many messages in this manager's channel made no sense: they were truncated, for
// another manager, or somebody else's.
func (m *Manager) IgnoredMessages() int64 { return m.subscriber.ignored.Load() }
