package leaseweb

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

// rules are what a page must keep so that everybody can use it: what screen readers need, what the keyboard reaches, and
// enough contrast. They return what breaks them.
const rules = `(() => {
	const bad = [];
	const name = (e) => (e.getAttribute("aria-label") || e.innerText || e.textContent || e.title || "").trim();
	const seen = (e) => e.checkVisibility() && e.getClientRects().length > 0;
	if (!document.documentElement.lang) bad.push("html has no lang");
	if (!document.title) bad.push("no title");
	if (document.querySelectorAll("h1").length !== 1) bad.push("h1: " + document.querySelectorAll("h1").length);
	if (document.querySelectorAll("main").length !== 1) bad.push("main: " + document.querySelectorAll("main").length);
	const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
	for (const id of new Set(ids)) if (ids.filter((i) => i === id).length > 1) bad.push("id twice: " + id);
	for (const e of document.querySelectorAll("a[href], button")) if (seen(e) && !name(e)) bad.push("no name: " + e.outerHTML);
	for (const e of document.querySelectorAll("input:not([type=hidden])"))
		if (!e.getAttribute("aria-label") && !e.closest("label")) bad.push("no label: " + e.outerHTML);
	for (const e of document.querySelectorAll("svg"))
		if (!e.closest("[aria-hidden=true]") && !e.closest("[role=img]")) bad.push("svg without a role: " + e.outerHTML.slice(0, 80));
	for (const e of document.querySelectorAll("[role=img]")) if (!e.getAttribute("aria-label")) bad.push("picture without words");
	for (const e of document.querySelectorAll("[aria-labelledby]"))
		if (!document.getElementById(e.getAttribute("aria-labelledby"))) bad.push("aria-labelledby leads nowhere: " + e.getAttribute("aria-labelledby"));
	for (const e of document.querySelectorAll("table")) if (!e.querySelector("th[scope]")) bad.push("table without headings");
	for (const e of document.querySelectorAll("nav")) if (!e.getAttribute("aria-label")) bad.push("nav without a name");
	for (const e of document.querySelectorAll("[tabindex]")) if (e.tabIndex > 0) bad.push("tabindex above 0");
	let level = 0;
	for (const h of document.querySelectorAll("h1, h2, h3")) {
		const n = parseInt(h.nodeName[1]);
		if (n > level + 1) bad.push("heading " + h.textContent + " skips a level");
		level = n;
	}
	const light = (c) => {
		const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const rgba = (s) => { const n = s.match(/[\d.]+/g).map(Number); return n.length < 4 ? [...n, 1] : n; };
	const behind = (e) => {
		for (; e; e = e.parentElement) { const c = rgba(getComputedStyle(e).backgroundColor); if (c[3] > 0) return c; }
		return [255, 255, 255, 1];
	};
	const contrast = (front, back, what) => {
		const [a, b] = [light(front.slice(0, 3)), light(back.slice(0, 3))].sort((x, y) => y - x);
		const ratio = (a + 0.05) / (b + 0.05);
		if (ratio < 4.5) bad.push("contrast " + ratio.toFixed(2) + ": " + what);
	};
	const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walk.nextNode()) {
		const e = walk.currentNode.parentElement;
		if (!walk.currentNode.nodeValue.trim() || !seen(e) || e.closest("svg, noscript, script, .only-read, .skip")) continue;
		contrast(rgba(getComputedStyle(e).color), behind(e), e.nodeName + "." + e.className + " " + walk.currentNode.nodeValue.trim().slice(0, 30));
	}
	for (const e of document.querySelectorAll(".block text"))
		contrast(rgba(getComputedStyle(e).fill), rgba(getComputedStyle(e.parentElement.querySelector("rect")).fill), "block " + e.textContent);
	return [...new Set(bad)];
})()`

func TestThePagesAreReadableAtEachWidthAndInTheDark(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	m := smallFleet(t, server, 100*time.Millisecond)
	for _, name := range []string{"a-name-that-goes-on-and-on-as-names-of-tenants-do/region-eu-central-1/queue-of-outgoing-mails", strings.Repeat("x", 300)} {
		hold(t, semaphore(t, m, lease.Config{Name: name, Capacity: 1}), lease.Label(strings.Repeat("long label ", 5)))
	}
	s := serve(t, m, Options{AllowActions: true})
	b := chromium(t, hostIn(s))
	for _, v := range []string{"", "s/gpu"} {
		viewer, _ := s.poller.join(pageFor(v, true))
		defer s.poller.leave(viewer)
	}
	s.watch(t, "?name=gpu").next(t, "block")
	paths := map[string]string{"list": "/", "gpu": "/s/gpu", "paused": "/s/payments-api", "long": "/s/" + strings.Repeat("x", 300), "confirm": "/confirm/resize?name=gpu"}
	for _, width := range []int64{400, 1280} {
		for _, scheme := range []string{"light", "dark"} {
			b.look(width, 900, scheme)
			for name, path := range paths {
				what := fmt.Sprintf("%s-%d-%s", name, width, scheme)
				b.do(chromedp.Navigate(s.URL+path), chromedp.WaitVisible(chromedp.CSS("main")))
				if got := eval[int64](b, `document.documentElement.scrollWidth`); got > width {
					t.Errorf("%s: %d pixels wide; what sticks out: %v", what, got, eval[[]string](b, `[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.nodeName + "." + (e.className.baseVal ?? e.className)).slice(0, 5)`))
				}
				for _, bad := range eval[[]string](b, rules) {
					t.Errorf("%s: %s", what, bad)
				}
				b.picture(what)
			}
		}
	}
}

func TestTheKeyboardReachesEverythingAndShowsWhereItIs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	m := manager(t, server, "worker/1")
	hold(t, semaphore(t, m, lease.Config{Name: "gpu", Capacity: 2}))
	s := serve(t, m, Options{AllowActions: true})
	b := chromium(t, hostIn(s))
	b.open(s.URL + "/s/gpu")
	var reached []string
	for range 30 {
		b.do(chromedp.KeyEvent("\t"))
		one := eval[[]string](b, `(() => { const e = document.activeElement, s = getComputedStyle(e); return [e.textContent.trim(), s.outlineStyle, e.nodeName] })()`)
		if one[2] == "BODY" {
			break
		}
		if one[1] == "none" {
			t.Errorf("nobody sees that the focus is on %q", one[0])
		}
		reached = append(reached, one[0])
	}
	got := strings.Join(reached, "|")
	for _, want := range []string{"Skip to the content", "PassBuddy", "All semaphores", "Pause", "Resize", "10 min", "Revoke"} {
		if !strings.Contains(got, want) {
			t.Errorf("the keyboard does not reach %q, but %s", want, got)
		}
	}
	// The question comes with the focus in it, and Escape leaves it.
	b.eval0(`document.querySelector('a[href*="confirm/pause"]').focus()`)
	b.do(chromedp.KeyEvent("\r"), chromedp.WaitVisible(chromedp.CSS("#ask form.ask")))
	if !eval[bool](b, `!!document.activeElement.closest("#ask")`) {
		t.Error("the focus is not in the dialog")
	}
	b.do(chromedp.KeyEvent("\x1b"))
	b.within(10*time.Second, `!document.getElementById("ask").open && document.activeElement.matches('a[href*="confirm/pause"]')`)
}
