package demo

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"github.com/eqworks/passbuddy/cmd/passbuddy/internal/watch"
)

var update = flag.Bool("update", false, "write what the screen looks like to testdata")

func TestTheScreenShowsTheFleetAndWhatHasHappenedLast(t *testing.T) {
	d, err := Start(Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	live, err := watch.New(t.Context(), watch.Config{Fleet: d.Operator, Patterns: []string{gpu, report}, Timeout: time.Second, Title: "passbuddy demo"})
	if err != nil {
		t.Fatal(err)
	}
	events := []Event{
		{Text: "5 workers want the 3 permits.", Kind: Scene},
		{Who: "worker-1", Text: "gets slot 0", Kind: Got},
		{Who: "worker-2", Text: "gets slot 1", Kind: Got},
		{Who: "worker-4", Text: "waits: all 3 permits are taken; its place in the queue is 1", Kind: Waits},
		{Who: "worker-2", Text: "is killed. Nobody gives its permit back: Redis keeps it until 13.52, when the TTL is over", Kind: Crashed},
		{Text: "worker-4 has the permit of worker-2 2.9 s after the crash: when the TTL was over, and not before."},
	}
	for _, width := range []int{40, 80} {
		var s tea.Model = screen{demo: d, live: live, began: d.Began}
		s, _ = s.Update(tea.WindowSizeMsg{Width: width, Height: 20})
		for i, e := range events {
			e.At = d.Began.Add(time.Duration(i) * 1700 * time.Millisecond)
			s, _ = s.Update(e)
		}
		got := ansi.Strip(s.View().Content) + "\n"
		if lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n"); len(lines) > 20 {
			t.Errorf("%d lines", len(lines))
		}
		for line := range strings.Lines(got) {
			if ansi.StringWidth(strings.TrimSuffix(line, "\n")) > width {
				t.Errorf("wider than %d: %q", width, line)
			}
		}
		file := fmt.Sprintf("testdata/screen-%d.txt", width)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if want, err := os.ReadFile(file); err != nil || string(want) != got {
			t.Errorf("%v: %s (go test -update writes it anew):\n%s", err, file, got)
		}
	}
}
