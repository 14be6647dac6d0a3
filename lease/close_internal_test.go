package lease

import (
	"errors"
	"testing"
)

// Close comes between the end of the lease's contexts and the sending of the release.
func TestAReleaseThatCloseOvertakesReturnsErrClosed(t *testing.T) {
	m := quietManager(t)
	_, g := shared(t, m, "gpu")
	h := g.Holding.Holder.(*hold)
	_ = h.end(ErrReleased)
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if err := h.giveBack(true); !errors.Is(err, ErrClosed) {
		t.Errorf("Release returned %v", err)
	}
}
