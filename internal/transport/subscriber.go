package transport

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/redis/go-redis/v9"

	"github.com/eqworks/passbuddy/internal/backoff"
)

const (
	readTimeout = 250 * time.Millisecond // of each read: nothing else interrupts it
	pingAfter   = 20                     // reads without a message, before the connection is tested
	giveUpAfter = 2 * pingAfter          // reads without a message, before the connection is given up
)

// A Subscriber keeps a subscription to one channel while somebody waits for its messages, and for a quiet while after.
// It does not make anything true: a message that is lost only costs the time until the next poll.
// Its fields are set before the first use. Safe for concurrent use.
type Subscriber struct {
	Client  redis.UniversalClient
	Clock   clock.Clock
	Channel string
	Quiet   time.Duration // with nobody who waits, before the subscription is closed

	Confirmed func()               // each time a subscription begins: messages arrive from now on
	Received  func(payload string) // each message, one at a time
	Refused   func(err error)      // the server does not allow the subscription; it is tried again

	mu      sync.Mutex
	waiting int                // who want messages
	cancel  context.CancelFunc // ends the goroutine; nil: there is none
	closing quietTimer
	stopped bool
	running sync.WaitGroup
}

// A quietTimer closes the subscription when it fires and nobody has waited since.
type quietTimer struct {
	stop       func() bool
	generation int // raised by each setting; a timer of an earlier generation does nothing
}

// Listen counts one who waits for messages in or out. It does no I/O: the subscription has a goroutine of its own.
func (s *Subscriber) Listen(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !on {
		if s.waiting--; s.waiting == 0 && s.cancel != nil {
			s.closing.generation++
			generation := s.closing.generation
			s.closing.stop = s.Clock.AfterFunc(s.Quiet, func() { s.close(generation) }).Stop
		}
		return
	}
	s.waiting++
	if s.closing.stop != nil {
		s.closing.stop()
		s.closing = quietTimer{generation: s.closing.generation + 1}
	}
	if s.cancel == nil && !s.stopped {
		ctx, cancel := context.WithCancel(context.Background())
		s.cancel = cancel
		s.running.Go(func() { s.run(ctx) })
	}
}

// close ends the subscription, if the timer that says so is the latest.
func (s *Subscriber) close(generation int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting == 0 && s.closing.generation == generation && s.cancel != nil {
		s.cancel()
		s.cancel, s.closing.stop = nil, nil
	}
}

// Stop ends the subscription for good, and waits for its goroutine: for a message that is being handled, and for a read,
// which lasts for a quarter of a second at most.
func (s *Subscriber) Stop() {
	s.mu.Lock()
	s.stopped = true
	if s.closing.stop != nil {
		s.closing.stop()
	}
	if s.cancel != nil {
		s.cancel()
		s.cancel = nil
	}
	s.mu.Unlock()
	s.running.Wait()
}

// run keeps one subscription after the other alive until ctx ends.
func (s *Subscriber) run(ctx context.Context) {
	retry := backoff.Policy{Min: 50 * time.Millisecond, Max: 5 * time.Second}
	for failures := 0; ctx.Err() == nil; {
		confirmed, err := s.receive(ctx)
		if ctx.Err() != nil {
			return
		}
		if confirmed {
			failures = 0
		}
		var refused redis.Error
		if errors.As(err, &refused) && !isTransient(err) {
			s.Refused(err)
			failures = max(failures, 6) // no hurry
		}
		failures++
		if backoff.Sleep(ctx, s.Clock, retry.Delay(failures, rand.Float64())) != nil {
			return
		}
	}
}

// receive opens a subscription and hands on what comes, until the connection fails or ctx ends. It reports
// whether the subscription was ever confirmed.
func (s *Subscriber) receive(ctx context.Context) (confirmed bool, err error) {
	sub := s.Client.Subscribe(ctx)
	defer sub.Close()
	if err := sub.Subscribe(ctx, s.Channel); err != nil {
		return false, err
	}
	for quietReads := 0; ctx.Err() == nil; quietReads++ {
		msg, err := sub.ReceiveTimeout(ctx, readTimeout)
		if err != nil && IsTimeout(err) && quietReads < giveUpAfter {
			if quietReads == pingAfter {
				err = sub.Ping(ctx)
			} else {
				err = nil
			}
		}
		if err != nil {
			return confirmed, err
		}
		if msg != nil {
			quietReads = 0
		}
		switch msg := msg.(type) {
		case *redis.Subscription:
			confirmed = true
			s.Confirmed()
		case *redis.Message:
			s.Received(msg.Payload)
		}
	}
	return confirmed, nil
}
