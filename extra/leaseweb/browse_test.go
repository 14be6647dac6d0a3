package leaseweb

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

func hostIn(s *site) string { return strings.TrimPrefix(s.URL, "http://") }

// counts are what a row of the list shows.
type counts struct {
	At                      int64
	Name, State             string
	Held, Capacity, Waiting int
}

const readRows = `[...document.querySelectorAll("table.list tbody tr")].map(r => {
	const n = (c) => parseInt(((r.querySelector(c)||{}).textContent||"").replace(/[^0-9]/g, "")||"0");
	return {At: parseInt(r.dataset.at), Name: r.dataset.key, State: r.querySelector(".mark").textContent,
		Held: n("td.held b"), Capacity: n("td.held .of"), Waiting: n("td.waiting b")};
})`

// A fleet of 50 processes, each with a manager and connections of its own, that takes and gives back for as long as the
// test wants.
func busy(t *testing.T, server *redistest.Server, names ...string) (quiet func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var ended []chan struct{}
	for i := range 50 {
		m := manager(t, server, fmt.Sprintf("busy-%d/1", i))
		for j, name := range names {
			s := semaphore(t, m, lease.Config{Name: name, Capacity: 2 + j})
			done := make(chan struct{})
			ended = append(ended, done)
			go func() {
				defer close(done)
				for ctx.Err() == nil {
					_ = s.Do(ctx, func(held context.Context) error {
						select {
						case <-held.Done():
						case <-time.After(30 * time.Millisecond):
						}
						return nil
					})
				}
			}()
		}
	}
	quiet = func() {
		cancel()
		for _, done := range ended {
			<-done
		}
	}
	t.Cleanup(quiet)
	return quiet
}

func TestThePageShowsWhatRedisSays(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	quiet := busy(t, server, "alpha", "beta")
	m := manager(t, server, "page/1")
	steady := semaphore(t, m, lease.Config{Name: "steady", Capacity: 3})
	hold(t, steady, lease.Weight(2), lease.Label("two"))
	s := serve(t, m, Options{})
	b := chromium(t, hostIn(s))
	b.open(s.URL)

	// While the fleet works, each row is one answer of Redis: the source has noted each.
	compared := 0
	for deadline := time.Now().Add(6 * time.Second); time.Now().Before(deadline) && compared < 12; {
		for _, row := range eval[[]counts](b, readRows) {
			s.source.mu.Lock()
			for _, one := range s.source.records[row.Name].past.samples {
				if one.at == row.At/1000 {
					compared++
					if int(one.held) != row.Held || int(one.capacity) != row.Capacity || int(one.waiting) != row.Waiting {
						t.Errorf("the page shows %+v, and Redis said %+v", row, one)
					}
				}
			}
			s.source.mu.Unlock()
			if row.Held > row.Capacity {
				t.Errorf("%+v", row)
			}
		}
	}
	if compared < 6 {
		t.Errorf("only %d rows could be compared", compared)
	}

	quiet()
	want := "[{alpha ok 0 2 0} {beta ok 0 3 0} {steady ok 2 3 0}]"
	redistest.Eventually(t, "the page shows the quiet fleet", func(ctx context.Context) error {
		var got []string
		for _, r := range eval[[]counts](b, readRows) {
			got = append(got, fmt.Sprintf("{%s %s %d %d %d}", r.Name, r.State, r.Held, r.Capacity, r.Waiting))
		}
		if text := fmt.Sprint(got); text != want {
			return errors.New(text)
		}
		return nil
	})
	held, err := server.Client(t).ZCard(t.Context(), "passbuddy-steady").Result()
	if err != nil || held != 2 {
		t.Errorf("Redis has %d, %v", held, err)
	}
	b.open(s.URL + "/s/steady")
	state, err := m.Inspect(t.Context(), "steady")
	if err != nil {
		t.Fatal(err)
	}
	if row := b.text("table.leases tbody tr"); !strings.Contains(row, state.Holders[0].Owner) || !strings.Contains(row, "two") || !strings.Contains(b.text("#held"), "2 of 3") {
		t.Errorf("%q %q", row, b.text("#held"))
	}
	if title := eval[string](b, `document.querySelector("svg.block title").textContent`); !strings.Contains(title, state.Holders[0].ID) || !strings.Contains(title, "label two") {
		t.Errorf("the tooltip says %q", title)
	}
}

// within waits until JavaScript is true, and returns how long that took.
func (b *browser) within(limit time.Duration, js string) time.Duration {
	b.t.Helper()
	began := time.Now()
	for !eval[bool](b, js) {
		if time.Since(began) > limit {
			b.t.Fatalf("not after %v: %s\n%s", limit, js, b.text("body"))
		}
	}
	return time.Since(began)
}

func TestAChangeShowsWithinTwoSecondsAndNothingElseMoves(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	worker := manager(t, server, "worker/1")
	gpu := semaphore(t, worker, lease.Config{Name: "gpu", Capacity: 4})
	first := hold(t, gpu, lease.Label("first"))
	s := serve(t, manager(t, server, "page/1"), Options{AllowActions: true})
	b := chromium(t, hostIn(s))
	b.look(600, 300, "light")
	b.open(s.URL + "/s/gpu")
	b.eval0(`window.mark = document.querySelector("table.leases tbody tr"); window.scrollTo(0, 200); document.querySelector("table.leases a.button").focus({preventScroll: true})`)
	hold(t, gpu, lease.Label("second"))
	if took := b.within(10*time.Second, `document.querySelector("#held").textContent.startsWith("2 of 4")`); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	if !eval[bool](b, `window.mark.isConnected && document.activeElement.matches("table.leases a.button") && window.scrollY === 200`) {
		t.Error("an update has moved the focus or the page, or has made the same row anew")
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	if took := b.within(10*time.Second, `document.querySelector("#held").textContent.startsWith("1 of 4") && !window.mark.isConnected`); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
}

func (b *browser) eval0(js string) {
	b.t.Helper()
	b.do(chromedp.Evaluate[chromedp.Void](js))
}

func TestAnActionAsksAndThenSaysWhatChanged(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	worker := manager(t, server, "worker/1")
	l := hold(t, semaphore(t, worker, lease.Config{Name: "gpu", Capacity: 4}), lease.Label("train"))
	context.AfterFunc(l.Context(), func() { _ = l.Release() }) // so the page never sees it revoked and held
	s := serve(t, manager(t, server, "page/1"), Options{AllowActions: true})
	b := chromium(t, hostIn(s))
	b.look(1000, 800, "dark")
	b.open(s.URL + "/s/gpu")
	click := func(selector string) { b.do(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible)) }

	click(`a[href*="confirm/pause"]`)
	b.do(chromedp.WaitVisible(chromedp.CSS("#ask form.ask")))
	b.picture("dialog")
	click("#ask a[data-close]")
	if eval[bool](b, `document.getElementById("ask").open`) {
		t.Error("the dialog does not close")
	}
	if _, paused := capacityOf(t, worker, "gpu"); paused {
		t.Error("it has acted although nobody confirmed")
	}
	click(`a[href*="confirm/pause"]`)
	b.do(chromedp.SendKeys(chromedp.CSS("#ask input[name=reason]"), "driver upgrade"))
	click("#ask button.go")
	b.do(chromedp.WaitVisible(chromedp.CSS("p.note")))
	if said := b.text("p.note"); !strings.Contains(said, "Paused: the capacity was 4 and is 0") {
		t.Errorf("it says %q", said)
	}
	if said := b.text("p.override"); !strings.Contains(said, "paused it") || !strings.Contains(said, "driver upgrade") {
		t.Errorf("it says %q", said)
	}
	if _, paused := capacityOf(t, worker, "gpu"); !paused {
		t.Error("it is not paused")
	}

	// Without JavaScript the question is a page.
	b.open(s.URL + "/s/gpu")
	b.do(chromedp.Navigate(s.URL+"/confirm/resume?name=gpu"), chromedp.Click(chromedp.CSS("form.ask button.go"), chromedp.NodeVisible), chromedp.WaitVisible(chromedp.CSS("p.note")))
	if said := b.text("p.note"); !strings.Contains(said, "Resumed: the capacity was 0 and is 4") {
		t.Errorf("it says %q", said)
	}

	click("table.leases a.button")
	b.do(chromedp.WaitVisible(chromedp.CSS("#ask form.ask")))
	click("#ask button.go")
	b.within(10*time.Second, `(document.querySelector("p.note")||{textContent:""}).textContent.startsWith("Revoked")`)
	select {
	case <-l.Context().Done():
	case <-time.After(10 * time.Second):
		t.Error("the holder was not told")
	}
	b.within(10*time.Second, `!document.querySelector("table.leases a.button") && !!document.querySelector("svg.block.lost")`)
	b.picture("revoked")
}

func TestTheSearchNarrowsTheListWhileTyping(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	m := manager(t, server, "page/1")
	for i := range 120 {
		if err := m.Resize(t.Context(), fmt.Sprintf("tenant-%03d", i), 1+i); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, m, Options{})
	b := chromium(t, hostIn(s))
	b.open(s.URL)
	if n := eval[int](b, `document.querySelectorAll("table.list tbody tr").length`); n != 50 {
		t.Errorf("%d rows on the first page", n)
	}
	b.eval0(`document.body.dispatchEvent(new KeyboardEvent("keydown", {key: "/", bubbles: true}))`)
	b.do(chromedp.SendKeys(chromedp.CSS("input[type=search]"), "-11"))
	b.within(10*time.Second, `document.querySelectorAll("table.list tbody tr").length === 10`)
	if got := eval[string](b, `location.search + " " + document.activeElement.name`); got != "?search=-11 search" {
		t.Errorf("%q", got)
	}
	// The stream goes on with what was searched for.
	if err := m.Pause(t.Context(), "tenant-115"); err != nil {
		t.Fatal(err)
	}
	b.within(10*time.Second, `document.querySelector('tr[data-key="tenant-115"] .mark').textContent === "paused"`)
	if n := eval[int](b, `document.querySelectorAll("table.list tbody tr").length`); n != 10 {
		t.Errorf("%d rows", n)
	}
	b.open(s.URL + "/?sort=state")
	if first := eval[string](b, `document.querySelector("table.list tbody tr").dataset.key`); first != "tenant-115" {
		t.Errorf("first is %s", first)
	}
	b.open(s.URL + "/?page=3")
	if got := eval[int](b, `document.querySelectorAll("table.list tbody tr").length`); got != 20 {
		t.Errorf("%d rows on the last page", got)
	}
}

func TestNamesMayContainAnything(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	m := manager(t, server, "page/1")
	names := []string{"a/b", "..", ".", "a/../b", "%2e", "50%", "a b+c", "?x=1&y", "#frag", `"quoted"`, "<b>bold</b>", "naïve-日本", "back\\slash", "'; --", "//host", "{open", "pause"}
	for _, name := range names {
		if err := m.Resize(t.Context(), name, 3); err != nil {
			t.Fatal(err)
		}
	}
	s := serve(t, m, Options{AllowActions: true})
	b := chromium(t, hostIn(s))
	b.open(s.URL)
	if n := eval[int](b, `document.querySelectorAll("table.list tbody tr").length`); n != len(names) {
		t.Errorf("%d rows", n)
	}
	for i := range names {
		b.open(s.URL)
		name := eval[string](b, fmt.Sprintf(`(() => { const a = document.querySelectorAll("td.name a")[%d]; const name = a.textContent; a.click(); return name })()`, i))
		b.within(10*time.Second, `!!document.querySelector("h1") && document.querySelector("h1").textContent === `+strconv.Quote(name)+` && !!document.querySelector("#held")`)
		// Its stream and its actions are the same semaphore's.
		if got := s.press(t, name, "resize", url.Values{"capacity": {"4"}}); !strings.Contains(got, "was 3 and is 4") {
			t.Errorf("%q: %s", name, got)
		}
		b.within(10*time.Second, `document.querySelector("#held").textContent.includes("of 4")`)
	}
}
