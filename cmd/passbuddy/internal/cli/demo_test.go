package cli

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/eqworks/passbuddy/internal/redistest"
)

func TestTheDemoNeedsNoServer(t *testing.T) {
	c := passbuddy(t, nil, "demo")
	c.Env = append(c.Env, "REDIS_URL=redis://127.0.0.1:1")
	c.start()
	redistest.Eventually(t, "it tells what happens", func(context.Context) error {
		if !strings.Contains(c.out.String(), "worker-4  waits: all 3 permits are taken") {
			return errors.New(c.out.String())
		}
		return nil
	})
	_ = c.Process.Signal(os.Interrupt)
	c.mustExit(130)
	if c.said() != "" || strings.Contains(c.out.String(), "\x1b") {
		t.Errorf("it said %q and printed %q", c.said(), c.out.String())
	}
	url := passbuddy(t, nil, "demo", "--url", "redis://user:secret@example.org:6379").start()
	url.mustExit(64)
	if !strings.Contains(url.said(), "--url example.org:6379: the demo has a Redis of its own") || strings.Contains(url.said(), "secret") {
		t.Error(url.said())
	}
}

func TestTheDemoEndsWhenNobodyReads(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c := passbuddy(t, nil, "demo")
	c.Stdout = w
	c.start()
	_ = w.Close()
	if n, err := r.Read(make([]byte, 100)); n == 0 {
		t.Fatal(err)
	}
	_ = r.Close()
	c.mustExit(0)
	if c.said() != "" {
		t.Error(c.said())
	}
}

func TestTheDemoOnATerminal(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(*liveView)
		code int
	}{
		{"q", func(v *liveView) { v.typed("q") }, 0},
		{"control C", func(v *liveView) { v.typed(ctrlC) }, 130},
		{"SIGTERM", func(v *liveView) { _ = v.Process.Signal(syscall.SIGTERM) }, 130},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			v := openView(t, nil, "demo")
			v.sees("passbuddy demo")
			v.sees("gets slot 0")
			v.sees("waits: all 3 permits are taken")
			c.end(v)
			v.mustRestore(c.code)
			if c.code == 0 {
				v.sees("passbuddy doctor")
			}
		})
	}
}
