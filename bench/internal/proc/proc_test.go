package proc

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	RunIfChild(map[string]func(*Child, json.RawMessage) error{
		"start": func(c *Child, raw json.RawMessage) error {
			var path string
			if err := json.Unmarshal(raw, &path); err != nil {
				return err
			}
			page, err := OpenPage(path)
			if err != nil {
				return err
			}
			w, err := c.Ready()
			if err != nil {
				return err
			}
			page.Word(1).Add(1)
			return c.Send(Now().Sub(w.Start))
		},
		"fail":  func(*Child, json.RawMessage) error { return errors.New("no luck") },
		"panic": func(*Child, json.RawMessage) error { panic("very bad luck") },
	})
	os.Exit(m.Run())
}

const limit = 20 * time.Second

func TestChildrenStartTogetherAndShareMemory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "page")
	page, err := NewPage(path)
	if err != nil {
		t.Fatal(err)
	}
	defer page.Close()
	var work []Work
	for range 3 {
		work = append(work, Work{Kind: "start", Args: path, Core: Anywhere, Limit: limit})
	}
	team, err := StartTeam(work)
	if err != nil {
		t.Fatal(err)
	}
	defer team.Close()
	if err := team.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	if page.Word(1).Load() != 0 {
		t.Error("a child began before all were told to")
	}
	if _, err := team.Go(time.Second); err != nil {
		t.Fatal(err)
	}
	late, err := Results[time.Duration](t.Context(), team)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range late {
		if d < 0 || d > limit {
			t.Errorf("a child began %v after the start", d)
		}
	}
	if n := page.Word(1).Load(); n != 3 {
		t.Errorf("the shared word is %d, want 3", n)
	}
}

func TestErrorAndEndOfAChildReachTheParent(t *testing.T) {
	for kind, want := range map[string]string{"fail": "no luck", "panic": "very bad luck", "other": `unknown kind of child "other"`} {
		c, err := Start(Work{Kind: kind, Core: Anywhere, Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		var word string
		if err := c.Receive(t.Context(), &word); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", kind, err, want)
		}
		c.Close()
	}
}

func TestAllProcessesReadTheSameClock(t *testing.T) {
	before := Now()
	time.Sleep(time.Millisecond)
	if d := Now().Sub(before); d < time.Millisecond || d > limit {
		t.Errorf("a millisecond took %v", d)
	}
}
