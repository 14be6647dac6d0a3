package lease

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
)

func TestTheLogIsBoundedWhateverTheNumberOfNames(t *testing.T) {
	m := quietManager(t)
	var out bytes.Buffer
	m.log = slog.New(slog.NewTextHandler(&out, nil))
	burst := func() (lines int) {
		out.Reset()
		for range 2 {
			for i := range 5000 {
				m.warn(fmt.Sprint("s", i), "disagree", "other limits", "semaphore", i)
			}
		}
		return strings.Count(out.String(), "\n")
	}
	if n := burst(); n != maxNamed+1 {
		t.Errorf("%d lines, want %d and one that says that there are more:\n%s", n, maxNamed, out.String())
	}
	if !strings.Contains(out.String(), "and_more") {
		t.Errorf("nothing says that there are more:\n%s", out.String())
	}
	m.warn("s1", "release", "another cause")
	if !strings.Contains(out.String(), "another cause") {
		t.Error("another cause was not logged")
	}
	if len(m.said) != 2 || len(m.said["disagree"].names) != maxNamed {
		t.Errorf("%d causes and %d names are kept", len(m.said), len(m.said["disagree"].names))
	}
	if n := burst(); n != 0 {
		t.Errorf("%d lines more within the minute", n)
	}
	m.clock.(*clock.Mock).Add(time.Minute)
	if n := burst(); n != maxNamed+1 {
		t.Errorf("%d lines in the next minute", n)
	}
}
