package lease

import (
	"testing"
	"time"
)

func TestWhatAServerNeedsIsForgottenByAndBy(t *testing.T) {
	s := &serverTime{}
	s.answered(2 * time.Second)
	s.answered(time.Millisecond)
	if got := s.need(); got != time.Second {
		t.Errorf("needs %v after one quick answer", got)
	}
	s.answered(3 * time.Second)
	for range 20 {
		s.answered(time.Millisecond)
	}
	if got := s.need(); got > 2*time.Millisecond {
		t.Errorf("needs %v after twenty quick answers", got)
	}
}
