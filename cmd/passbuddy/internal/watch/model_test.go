package watch

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"
)

func shown(m Model) string { return ansi.Strip(m.Content()) }

func mustShow(t *testing.T, m Model, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(shown(m), w) {
			t.Errorf("no %q in\n%s", w, shown(m))
		}
	}
}

// asksRedis carries out commands, and returns how often they ask.
func asksRedis(f *fleet, cmds ...tea.Cmd) int {
	before := f.calls
	for _, cmd := range cmds {
		if cmd == nil {
			continue
		}
		if all, is := cmd().(tea.BatchMsg); is {
			asksRedis(f, all...)
		}
	}
	return f.calls - before
}

func TestNeverTwoPollsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // for the ticks
		f := aFleet()
		m := open(t, f, 80, 24)
		m, first := m.Update(ticked(noon.Add(time.Second)))
		m, second := m.Update(ticked(noon.Add(2 * time.Second)))
		m, third := m.Update(keyOf("enter"))
		if n := asksRedis(f, first); n != 1 {
			t.Errorf("a tick asks Redis %d times", n)
		}
		if n := asksRedis(f, second, third); n != 0 {
			t.Errorf("while a poll is under way Redis is asked %d times", n)
		}
		_, after := m.Update(polled{at: noon.Add(3 * time.Second)})
		if n := asksRedis(f, after); n != 1 {
			t.Errorf("what was opened meanwhile is asked for %d times", n)
		}
	})
}

func TestNamesAreLookedForOnceAMinute(t *testing.T) {
	f := aFleet()
	m := open(t, f, 80, 24)
	f.states["new"] = semaphore("new", 1, 0, time.Second)
	if m = send(m, ticked(noon.Add(59*time.Second))); strings.Contains(shown(m), "new") {
		t.Error("they are looked for before")
	}
	m = send(m, ticked(noon.Add(60*time.Second)), ticked(noon.Add(61*time.Second)))
	mustShow(t, m, "new")
}

func TestThePictureStaysWhileRedisIsAway(t *testing.T) {
	f := aFleet()
	m := open(t, f, 80, 24)
	f.err = errAway
	m = send(m, ticked(noon.Add(time.Second)), ticked(noon.Add(12*time.Second)))
	mustShow(t, m, "last seen 12s ago: lease: summarize", "nightly-report", "connection refused")
	if grey.Render("nightly-report") == "nightly-report" || !strings.Contains(m.Content(), grey.Render("nightly-report")) {
		t.Error("what is no longer the present is not grey")
	}
	m = press(m, "enter") // a key does not wait for Redis
	m = press(m, "esc")
	f.err = nil
	m = send(m, ticked(noon.Add(13*time.Second)))
	if strings.Contains(shown(m), "last seen") || strings.Contains(m.Content(), grey.Render("nightly-report")) {
		t.Errorf("Redis answers again, and the view says\n%s", shown(m))
	}
}

func TestAPollThatHangsIsSaid(t *testing.T) {
	m := open(t, aFleet(), 80, 24)
	m, _ = m.Update(ticked(noon.Add(time.Second)))
	m, _ = m.Update(ticked(noon.Add(4 * time.Second)))
	mustShow(t, m, "last seen 4s ago: no answer yet")
}

func TestAnActionIsAskedFirst(t *testing.T) {
	for _, keys := range [][]string{{"p", "n"}, {"p", "enter"}, {"p", "esc"}, {"p", "q"}, {"+", "esc"}, {"+", "n"}, {"enter", "x", "n"}} {
		f := aFleet()
		m := press(open(t, f, 80, 24), "s", "s", "home") // the cursor stands on gpu
		if m = press(m, keys...); len(f.did) > 0 {
			t.Errorf("%v: %v", keys, f.did)
		}
		mustShow(t, m, "nothing was changed")
	}
}

func TestActionsSayWhatTheyChanged(t *testing.T) {
	for _, c := range []struct {
		keys      []string
		did, said string
	}{
		{[]string{"p", "y"}, "pause gpu", "gpu: capacity 4 → 0, 4 held; to undo it: passbuddy resume gpu"},
		{[]string{"+", "y"}, "resize to 5 gpu", "gpu: capacity 4 → 5, 4 held; to undo it: passbuddy resize gpu --reset"},
		{[]string{"-", "-", "+", "enter"}, "resize to 3 gpu", "gpu: capacity 4 → 3"},
		{[]string{"z", "1", "2", "y"}, "resize to 12 gpu", "gpu: capacity 4 → 12"},
		{[]string{"z", "1", "backspace", "enter", "8", "enter"}, "resize to 8 gpu", "gpu: capacity 4 → 8"},
		{[]string{"z", "d", "y"}, "reset gpu", "gpu: capacity 4 → 4"},
		{[]string{"z", "d", "9", "y"}, "resize to 9 gpu", "gpu: capacity 4 → 9"},
		{[]string{"enter", "down", "x", "y"}, "revoke 019ad2c1-1840-7b1d-a6c0-1f2e3d4c5b01:1@worker-2~4f0a1f7e#train of gpu", "gpu: took the permit 019ad2c1-1840-7b1d-a6c0… away from worker-2"},
		{[]string{"enter", "x", "y"}, "revoke 019ad2c1-1140-7b1d-a6c0-1f2e3d4c5b00:1@worker-1~4f0a007e#train of gpu", "took the permit 019ad2c1-1140"},
		{[]string{"enter", "p", "y", "r", "y"}, "resume gpu", "gpu: capacity 0 → 4, 4 held; to undo it: passbuddy pause gpu"},
	} {
		f := aFleet()
		m := press(open(t, f, 120, 24), "s", "s", "home")
		m = press(m, c.keys...)
		if len(f.did) == 0 || f.did[len(f.did)-1] != c.did {
			t.Errorf("%v: it did %q, want %q", c.keys, f.did, c.did)
		}
		mustShow(t, m, c.said)
	}
}

func TestWhatCannotBeIsNotAsked(t *testing.T) {
	f := aFleet()
	m := press(open(t, f, 120, 24), "s", "s", "home")
	mustShow(t, press(m, "r"), "gpu is not paused")
	mustShow(t, press(m, "x"), "choose a holder")
	mustShow(t, press(m, "enter", "end", "x"), "choose a holder") // a waiter
	m = press(m, "end")                                           // thumbnails
	mustShow(t, press(m, "p"), "thumbnails is paused already")
	f.err = errAway
	mustShow(t, press(m, "r", "y"), "connection refused")
}

func TestTheQuestionIsAboutWhatItNames(t *testing.T) {
	f := aFleet()
	m := press(open(t, f, 120, 24), "s", "s", "home", "p")
	m = send(m, scanned{names: []string{"export", "migrate"}}, ticked(noon.Add(time.Second))) // gpu leaves the list
	press(m, "y")
	if !slices.Equal(f.did, []string{"pause gpu"}) {
		t.Error(f.did)
	}
}

func TestALateAnswerIsNotTakenForAnother(t *testing.T) {
	f := aFleet()
	m := press(open(t, f, 120, 24), "s", "s", "home")
	m, late := m.Update(keyOf("enter")) // gpu
	m = press(m, "esc", "down", "enter")
	mustShow(t, m, "migrate")
	m, next := m.Update(late())
	if strings.Contains(shown(m), "worker-1") {
		t.Errorf("what is shown under another name:\n%s", shown(m))
	}
	m, _ = m.Update(next())
	mustShow(t, m, "Queue of 2")
}

func TestTheCursorStaysOnItsName(t *testing.T) {
	m := press(open(t, aFleet(), 80, 24), "down", "down") // gpu
	mustShow(t, m, "▸  gpu")
	for range 4 {
		m = press(m, "s")
		mustShow(t, m, "▸  gpu")
	}
	mustShow(t, press(m, "end"), "▸  thumbnails")
}

func TestTheFilter(t *testing.T) {
	m := press(open(t, aFleet(), 80, 24), "/", "G", "p", "q", "backspace")
	if text := shown(m); !strings.Contains(text, "gpu") || strings.Contains(text, "migrate") {
		t.Error(text)
	}
	m = press(m, "enter", "enter")
	mustShow(t, m, "Held by 3")
	m = press(m, "esc")
	if strings.Contains(shown(m), "migrate") {
		t.Error("the filter has gone when it should not")
	}
	mustShow(t, press(m, "esc"), "migrate")
}

func TestWhatRedisSaysCannotChangeTheTerminal(t *testing.T) {
	f := aFleet()
	f.states["mail\x1b[2J"].Override = f.states["export"].Override
	f.states["mail\x1b[2J"].Resized = true
	f.states["mail\x1b[2J"].Override.Reason = "a\r\u202eb\nc"
	f.err = nil
	m := press(open(t, f, 120, 24), "/", "m", "a", "i", "l", "enter")
	for _, m := range []Model{m, press(m, "enter"), press(m, "enter", "x"), press(m, "enter", "x", "y"), press(m, "p"), press(m, "p", "y")} {
		if text := shown(m); strings.ContainsAny(text, "\x1b\a\r\u202e") || strings.Contains(m.Content(), "\x1b[2J") {
			t.Errorf("%q", text)
		}
	}
}

func TestALongListScrolls(t *testing.T) {
	f := &fleet{states: aFleet().states}
	for i := range 500 {
		name := fmt.Sprintf("tenant-%03d", i)
		f.states[name] = semaphore(name, 5, 0, time.Second)
	}
	m := press(open(t, f, 80, 24), "/", "t", "e", "n", "a", "enter")
	mustShow(t, m, "▸  tenant-000")
	mustShow(t, press(m, "end"), "▸  tenant-499")
	mustShow(t, press(m, "pgdown", "pgdown"), "▸  tenant-024", "tenant-015", "tenant-033")
	for _, height := range []int{0, 1, 2, 3, 4} {
		small := press(send(m, tea.WindowSizeMsg{Width: 10, Height: height}), "end", "enter")
		if n := strings.Count(small.Content(), "\n") + 1; n > max(height, 1) {
			t.Errorf("%d lines in %d", n, height)
		}
	}
}

func TestNamedSemaphoresNeedNoScan(t *testing.T) {
	f := aFleet()
	m, err := New(t.Context(), Config{Fleet: f, Patterns: []string{"gpu", "later"}, Timeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	mustShow(t, m, "gpu", "later", "unused")
	if strings.Contains(shown(m), "migrate") {
		t.Error(shown(m))
	}
	m, err = New(t.Context(), Config{Fleet: f, Patterns: []string{"mig*", "gpu"}, Timeout: time.Second})
	if err != nil || len(m.all) != 2 {
		t.Errorf("%v: %v", err, m.all)
	}
	f.err = errAway
	if _, err := New(t.Context(), Config{Fleet: f, Timeout: time.Second}); err != errAway {
		t.Errorf("Redis is away at the start: %v", err)
	}
}
