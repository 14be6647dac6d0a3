package lease

import (
	"sync"
	"time"

	"github.com/eqworks/passbuddy/internal/protocol"
)

// A serverTime follows one server's clock. Safe for concurrent use.
type serverTime struct {
	mu     sync.Mutex
	latest protocol.Reading
	needed time.Duration    // how long an answer has lately taken: the longest, halved by each that was quicker
	step   protocol.Reading // the latest that showed a step, told to all semaphores of this server
}

// answered takes it that an answer took d, also when its attempt had been given up.
func (s *serverTime) answered(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.needed = max(d, s.needed/2, 1) // 0 means never, and a mock clock may stand still
}

// need is how long an answer of this server has lately taken; 0: it has never answered.
func (s *serverTime) need() time.Duration {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.needed
}

// isNews reports whether r shows a step that has not been told, and takes it as told.
func (s *serverTime) isNews(r protocol.Reading) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.step.Micros != 0 && r.Sent.Mono-s.step.Received.Mono < time.Minute {
		if _, changed := s.step.Jump(r); !changed {
			return false
		}
	}
	s.step = r
	return true
}

func (s *serverTime) reading() protocol.Reading {
	if s == nil {
		return protocol.Reading{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

// observe takes a reading, unless a newer one has come before it.
func (s *serverTime) observe(r protocol.Reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Sent.Mono >= s.latest.Sent.Mono {
		s.latest = r
	}
}

// forget drops what is known: the next answer may come from another server. It reports whether anything
// was.
func (s *serverTime) forget() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.latest.Micros != 0
	s.latest = protocol.Reading{}
	return known
}
