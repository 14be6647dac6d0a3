package transport

import (
	"sync"
	"time"

	"github.com/eqworks/passbuddy/internal/protocol"
)

// servers are those that have been talked to, by address. Safe for concurrent use.
type servers struct {
	mu     sync.Mutex
	byAddr map[string]*Server
}

func (s *servers) at(addr string) *Server {
	s.mu.Lock()
	defer s.mu.Unlock()
	server := s.byAddr[addr]
	if server == nil {
		server = &Server{}
		if s.byAddr == nil {
			s.byAddr = map[string]*Server{}
		}
		s.byAddr[addr] = server
	}
	return server
}

// A Server is what is known of one server: its clock, and how long it lately took to answer. A nil *Server knows nothing.
// Safe for concurrent use.
type Server struct {
	mu     sync.Mutex
	latest protocol.Reading
	needed time.Duration    // how long an answer has lately taken: the longest, halved by each that was quicker
	step   protocol.Reading // the latest that showed a step, told to all semaphores of this server
}

// Answered records that an answer took d, also when its attempt had been given up.
func (s *Server) Answered(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.needed = max(d, s.needed/2, 1) // 0 means never, and a mock clock may stand still
}

// Needed is how long an answer of this server has lately taken; 0: it has never answered.
func (s *Server) Needed() time.Duration {
	if s == nil {
		return 0
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.needed
}

// TakeStep records the step of the clock that r shows, and reports whether it is new: the caller tells the others.
func (s *Server) TakeStep(r protocol.Reading) bool {
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

// Reading is the latest reading of its clock; its zero value: there is none.
func (s *Server) Reading() protocol.Reading {
	if s == nil {
		return protocol.Reading{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.latest
}

// Observe records a reading, unless a newer one has come before it.
func (s *Server) Observe(r protocol.Reading) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Sent.Mono >= s.latest.Sent.Mono {
		s.latest = r
	}
}

// Forget drops what is known of the clock: the next answer may come from another server. It reports whether anything
// was known.
func (s *Server) Forget() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.latest.Micros != 0
	s.latest = protocol.Reading{}
	return known
}
