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

	doubted time.Duration // when a reading contradicted another semaphore's last, since the manager was made
	pause   time.Duration // for how long that is not said again
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
	s.pause = 0
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

// Observe records a reading, unless a newer one has come before it. It reports whether the reading shows a later time than
// the one before allows, which may be of another semaphore. Then the clock has stepped ahead, and there may be semaphores
// that have had no answer since; or the address hides several servers. So it is said seldom where no semaphore finds a
// step in its own answers: first after a second, and then after twice as long each time, up to an hour.
func (s *Server) Observe(r protocol.Reading) (contradicts bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Sent.Mono < s.latest.Sent.Mono {
		return false
	}
	forward, _ := s.latest.Jump(r)
	s.latest = r
	if forward == 0 || s.pause > 0 && r.Sent.Mono < s.doubted+s.pause {
		return false
	}
	s.doubted, s.pause = r.Sent.Mono, min(max(2*s.pause, time.Second), time.Hour)
	return true
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
