package transport

import (
	"testing"
	"time"
)

func TestWhatAServerNeedsIsForgottenByAndBy(t *testing.T) {
	s := &Server{}
	s.Answered(2 * time.Second)
	s.Answered(time.Millisecond)
	if got := s.Needed(); got != time.Second {
		t.Errorf("needs %v after one quick answer", got)
	}
	s.Answered(3 * time.Second)
	for range 20 {
		s.Answered(time.Millisecond)
	}
	if got := s.Needed(); got > 2*time.Millisecond {
		t.Errorf("needs %v after twenty quick answers", got)
	}
}
