package lease

import (
	"sync"
	"time"
)

// A serverTime follows one server's clock. Safe for concurrent use.
type serverTime struct {
	mu     sync.Mutex
	latest reading
	needed time.Duration // how long an answer has lately taken: the longest, halved by each that was quicker
	step   reading       // the latest that showed a step, told to all semaphores of this server
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
func (s *serverTime) isNews(r reading) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.step.micros != 0 && r.sent.mono-s.step.received.mono < time.Minute {
		if _, changed := s.step.jump(r); !changed {
			return false
		}
	}
	s.step = r
	return true
}

func (s *serverTime) reading() reading {
	if s == nil {
		return reading{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

// observe takes a reading, unless a newer one has come before it.
func (s *serverTime) observe(r reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.sent.mono >= s.latest.sent.mono {
		s.latest = r
	}
}

// forget drops what is known: the next answer may come from another server. It reports whether anything
// was.
func (s *serverTime) forget() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.latest.micros != 0
	s.latest = reading{}
	return known
}
