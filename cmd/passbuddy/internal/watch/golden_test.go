package watch

import (
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"
)

var update = flag.Bool("update", false, "write what the views look like to testdata, and the README's picture")

// views are moments that a person sees.
var views = []struct {
	name   string
	height int
	at     func(Model, *fleet) Model
}{
	{"list", 14, func(m Model, _ *fleet) Model { return press(m, "s", "s", "home") }},
	{"filter", 8, func(m Model, _ *fleet) Model { return press(m, "/", "M", "A", "I", "L") }},
	{"question", 14, func(m Model, _ *fleet) Model { return press(m, "s", "s", "home", "+", "+") }},
	{"changed", 14, func(m Model, _ *fleet) Model { return press(m, "s", "s", "home", "p", "y") }},
	{"opened", 24, func(m Model, _ *fleet) Model { return press(m, "s", "s", "home", "enter", "down") }},
	{"opened-override", 12, func(m Model, _ *fleet) Model { return press(m, "enter") }},
	{"revoke", 24, func(m Model, _ *fleet) Model { return press(m, "s", "s", "home", "enter", "down", "x") }},
	{"away", 14, func(m Model, f *fleet) Model {
		f.err = errAway
		m = send(m, ticked(noon.Add(time.Second)))
		return send(m, ticked(noon.Add(12*time.Second)))
	}},
	{"help", 24, func(m Model, _ *fleet) Model { return press(m, "?") }},
	{"nothing", 6, func(m Model, _ *fleet) Model { return press(m, "/", "z", "enter") }},
}

func TestTheViewsLookAsTheyShould(t *testing.T) {
	for _, v := range views {
		for _, width := range []int{40, 80, 120} {
			f := aFleet()
			m := v.at(open(t, f, width, v.height), f)
			got := ansi.Strip(m.Content()) + "\n"
			lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
			if len(lines) != v.height {
				t.Errorf("%s, %d columns: %d lines, want %d", v.name, width, len(lines), v.height)
			}
			for _, line := range lines {
				if ansi.StringWidth(line) > width {
					t.Errorf("%s: wider than %d: %q", v.name, width, line)
				}
			}
			mustBeGolden(t, filepath.Join("testdata", v.name+"-"+strconv.Itoa(width)+".txt"), got)
		}
	}
}

func mustBeGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s (go test -update writes it anew):\n%s\nwant:\n%s", file, got, want)
	}
}
