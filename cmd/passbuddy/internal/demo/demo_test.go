package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9/logging"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

func TestMain(m *testing.M) {
	logging.Disable()
	m.Run()
}

// playOnce plays all scenes at a quarter of the time that people need, and returns what was told.
func playOnce(t *testing.T) (d *Demo, told []Event) {
	t.Helper()
	d, err := Start(Config{Pace: 0.25})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	played := make(chan error, 1)
	go func() { played <- d.Play(ctx, false) }()
	last, ok := d.await(ctx, 0, func(e Event) bool { return strings.HasPrefix(e.Text, "That was all") })
	cancel()
	if err := <-played; !ok {
		t.Fatalf("the scenes have not been played: %v", err)
	}
	return d, d.events[:last.Number]
}

func TestWhatTheDemoTellsHasHappened(t *testing.T) {
	t.Parallel()
	d, told := playOnce(t)
	defer func() {
		if t.Failed() {
			for _, e := range told {
				t.Log(e.Line(d.Began))
			}
		}
	}()
	one := func(from int, what string, is func(Event) bool) Event {
		t.Helper()
		for _, e := range told[from:] {
			if is(e) {
				return e
			}
		}
		t.Fatalf("after event %d nobody %s", from, what)
		return Event{}
	}
	of := func(k Kind) func(Event) bool { return func(e Event) bool { return e.Kind == k } }
	next := func(after Event) Event {
		t.Helper()
		return one(after.Number, "gets the slot", func(e Event) bool { return e.Kind == Got && e.Name == gpu && e.Slot == after.Slot })
	}

	// Served in order.
	first := one(0, "waits", of(Waits))
	second := one(first.Number+1, "waits", of(Waits))
	serve := func(w Event) Event {
		return one(w.Number, "is served", func(e Event) bool { return e.Kind == Got && e.Who == w.Who })
	}
	if a, b := serve(first), serve(second); a.Token >= b.Token {
		t.Errorf("%s waited before %s, and got %d after %d", first.Who, second.Who, a.Token, b.Token)
	}

	// The report is written once.
	wrote, left := 0, 0
	for _, e := range told {
		if e.Name == report && e.Kind == Got {
			wrote++
		} else if e.Kind == Refused {
			left++
		}
	}
	if wrote != 1 || left != 1 {
		t.Errorf("%d wrote the report, %d left", wrote, left)
	}

	// After a crash the permit is free when its TTL is over, and not before.
	crash := one(0, "crashes", of(Crashed))
	if after := next(crash); !crash.Expires.After(crash.At) || after.At.Before(crash.Expires) {
		t.Errorf("the crash was at %v, Redis kept the permit until %v, and %s had it at %v", crash.At, crash.Expires, after.Who, after.At)
	}
	one(crash.Number, "begins again", of(NewStart))

	// Who stalls is told before another has the permit.
	stall := one(0, "stalls", of(Stalled))
	stopped := one(stall.Number, "is told", func(e Event) bool { return e.Kind == Stopped && e.Who == stall.Who })
	var lost *lease.LostError
	if !errors.As(stopped.Err, &lost) || lost.Reason != lease.LossExpired {
		t.Errorf("it stopped since %v", stopped.Err)
	}
	if after := next(stall); after.Number < stopped.Number || after.At.Before(stopped.At) {
		t.Errorf("%s stopped at %v, and %s had the permit at %v", stall.Who, stopped.At, after.Who, after.At)
	}
	one(stopped.Number, "heals", of(Healed))

	// While gpu is paused nobody gets a permit, and then all are served.
	back, resumed := one(0, "pauses", of(AllBack)), one(0, "resumes", of(Resumed))
	for _, e := range told[back.Number:resumed.Number] {
		if e.Kind == Got && e.Name == gpu {
			t.Errorf("while it is paused: %s", e.Line(d.Began))
		}
	}
	if pause := resumed.At.Sub(back.At); pause < d.span(time.Second) {
		t.Errorf("the pause lasts for %v", pause)
	}

	// Who is revoked is told, and the permit goes on.
	revoke := one(0, "revokes", of(Revoked))
	stopped = one(revoke.Number, "is told", of(Stopped))
	if !errors.As(stopped.Err, &lost) || lost.Reason != lease.LossRevoked || stopped.Slot != revoke.Slot {
		t.Errorf("slot %d is revoked, and slot %d stopped since %v", revoke.Slot, stopped.Slot, stopped.Err)
	}
	if after := next(revoke); after.Number < stopped.Number {
		t.Errorf("%s had the permit before %s was told", after.Who, stopped.Who)
	}

	if d.mostAtOnce != permits {
		t.Errorf("%d worked at once", d.mostAtOnce)
	}
	if !strings.Contains(d.Summary(), fmt.Sprintf("never more than %d at once", permits)) {
		t.Error(d.Summary())
	}
}

func TestTheDemoServesThePageAndLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	d, err := Start(Config{Pace: 0.25})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	played := make(chan error, 1)
	go func() { played <- d.Play(ctx, true) }()
	if _, ok := d.await(ctx, 0, func(e Event) bool { return e.Kind == Waits }); !ok {
		t.Fatal("nobody waits")
	}
	if e, ok := d.await(ctx, 0, func(e Event) bool { return strings.Contains(e.Text, d.PageURL) }); !ok || !strings.HasPrefix(d.PageURL, "http://127.0.0.1:") {
		t.Errorf("%q: %v", d.PageURL, e)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get(d.PageURL + "/s/" + gpu)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	if text := string(body); err != nil || !strings.Contains(text, "worker-") || !strings.Contains(text, "</b> of 3<") {
		t.Errorf("%v: the page says %q", err, body)
	}

	cancel() // in the middle of a scene, with workers that hold and wait
	if err := <-played; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	d.Close()
	for _, addr := range []string{d.Addr, strings.TrimPrefix(d.PageURL, "http://")} {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			t.Errorf("%s still listens", addr)
		}
	}
	redistest.Eventually(t, "all goroutines have ended", func(context.Context) error {
		if n := runtime.NumGoroutine(); n > before {
			stacks := make([]byte, 1<<20)
			return fmt.Errorf("%d, before %d:\n%s", n, before, stacks[:runtime.Stack(stacks, true)])
		}
		return nil
	})
}
