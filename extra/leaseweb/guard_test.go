package leaseweb

import (
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

const (
	readToken = "read-0123456789abcdef"
	actToken  = "act-0123456789abcdef"
)

func fleetOfOne(t *testing.T) (*redistest.Server, *lease.Manager) {
	t.Helper()
	server := redistest.Start(t)
	m := manager(t, server, "worker/1")
	hold(t, semaphore(t, m, lease.Config{Name: "gpu", Capacity: 2}))
	return server, m
}

func TestEachAnswerHasThePolicyAndIsTakenForWhatItIs(t *testing.T) {
	_, m := fleetOfOne(t)
	s := serve(t, m, Options{Metrics: []string{"gpu"}})
	for _, path := range []string{"/", "/s/gpu", "/assets/page.css", "/assets/page.js", "/api/v1/semaphores", "/metrics", "/healthz", "/nothing"} {
		h := s.ask(t, "GET", path, "").Header
		if h.Get("Content-Security-Policy") != policy || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, h)
		}
	}
	for _, path := range []string{"/", "/s/gpu"} {
		if html := s.ask(t, "GET", path, "").must(t, 200, "gpu").text; strings.Contains(html, "style=") || strings.Contains(html, "<style") || strings.Contains(html, "<script>") || strings.Contains(html, " onclick") {
			t.Errorf("%s has a style or a script of its own:\n%s", path, html)
		}
	}
}

func TestAForeignHostIsMisdirected(t *testing.T) {
	_, m := fleetOfOne(t)
	s := serve(t, m, Options{Hosts: []string{"leases.example.com"}, AllowActions: true})
	port := s.URL[strings.LastIndex(s.URL, ":"):]
	for _, host := range []string{"127.0.0.1" + port, "localhost", "LOCALHOST:1", "leases.example.com", "leases.example.com:443", "[::1]:9"} {
		s.ask(t, "GET", "/", "", from("Host", host)).must(t, 200, "gpu")
	}
	for _, host := range []string{"evil.example", "evil.example" + port, "127.0.0.1.evil.example", "10.1.2.3", "leases.example.com.evil.example"} {
		s.ask(t, "GET", "/", "", from("Host", host)).must(t, http.StatusMisdirectedRequest, "--public-host")
		s.ask(t, "GET", "/api/v1/semaphores", "", from("Host", host)).must(t, http.StatusMisdirectedRequest, "")
		s.ask(t, "GET", "/events", "", from("Host", host)).must(t, http.StatusMisdirectedRequest, "")
		s.ask(t, "POST", "/s/gpu/pause", "x=1", from("Host", host)).must(t, http.StatusMisdirectedRequest, "")
		s.ask(t, "GET", "/healthz", "", from("Host", host)).must(t, 200, "ok")
	}
	mustNotBePaused(t, m)
}

func mustNotBePaused(t *testing.T, m *lease.Manager) {
	t.Helper()
	all, err := m.Summaries(t.Context(), "gpu")
	if err != nil || all[0].Paused {
		t.Errorf("paused, or not known: %+v, %v", all, err)
	}
}

func TestWithoutAllowActionsThereAreNoRoutesThatAct(t *testing.T) {
	_, m := fleetOfOne(t)
	s := serve(t, m, Options{Tokens: []Token{{actToken, true}}})
	with := from("Authorization", "Bearer "+actToken)
	for _, verb := range []string{"pause", "resume", "resize", "reset", "revoke"} {
		for _, path := range []string{"/s/gpu/" + verb, "/s/" + verb, "/api/v1/semaphores/gpu/" + verb} {
			if a := s.ask(t, "POST", path, "name=gpu", with); a.StatusCode != http.StatusNotFound && a.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s: %d", path, a.StatusCode)
			}
		}
		if a := s.ask(t, "GET", "/confirm/"+verb+"?name=gpu", "", with); a.StatusCode != http.StatusNotFound {
			t.Errorf("confirm %s: %d", verb, a.StatusCode)
		}
	}
	if html := s.ask(t, "GET", "/s/gpu", "", with).must(t, 200, "Read-only").text; strings.Contains(html, "confirm") {
		t.Error("a read-only page has buttons")
	}
	mustNotBePaused(t, m)
}

func TestAnotherSitesFormChangesNothing(t *testing.T) {
	_, m := fleetOfOne(t)
	s := serve(t, m, Options{AllowActions: true})
	s.ask(t, "POST", "/s/gpu/pause", "reason=x", from("Origin", "https://evil.example")).must(t, 403, "")
	s.ask(t, "POST", "/s/gpu/pause", "reason=x", from("Origin", "null")).must(t, 403, "")
	s.ask(t, "POST", "/s/gpu/pause", "reason=x", from("Sec-Fetch-Site", "cross-site")).must(t, 403, "")
	s.ask(t, "POST", "/api/v1/semaphores/gpu/pause", "reason=x", from("Origin", "https://evil.example")).must(t, 403, "")
	mustNotBePaused(t, m)
	s.ask(t, "POST", "/s/gpu/pause", "reason=x", from("Origin", s.URL)).must(t, 303, "")
	if all, err := m.Summaries(t.Context(), "gpu"); err != nil || !all[0].Paused {
		t.Errorf("its own form did not pause: %+v, %v", all, err)
	}
}

func TestTokensSayWhoMayLookAndWhoMayAct(t *testing.T) {
	_, m := fleetOfOne(t)
	s := serve(t, m, Options{AllowActions: true, Metrics: []string{"gpu"}, Tokens: []Token{{readToken, false}, {actToken, true}}})
	for _, path := range []string{"/", "/s/gpu", "/events", "/api/v1/semaphores", "/api/v1/semaphores/gpu", "/metrics", "/confirm/pause?name=gpu"} {
		s.ask(t, "GET", path, "").must(t, 401, "token")
		s.ask(t, "GET", path, "", from("Authorization", "Bearer wrong-0123456789abcdef")).must(t, 401, "token")
		s.ask(t, "GET", path, "", from("Cookie", cookieName+"="+readToken)).must(t, 401, "token")
	}
	if html := s.ask(t, "GET", "/s/gpu", "", from("Accept", "text/html")).must(t, 401, "Log in").text; strings.Contains(html, "worker/1") {
		t.Error("who is not logged in sees who holds")
	}
	s.ask(t, "GET", "/healthz", "").must(t, 200, "ok")
	s.ask(t, "GET", "/readyz", "").must(t, 200, "ready")

	login := func(token, to string) (answer, func(*http.Request)) {
		a := s.ask(t, "POST", "/login", url.Values{"token": {token}, "to": {to}}.Encode())
		cookie, _, _ := strings.Cut(a.Header.Get("Set-Cookie"), ";")
		return a, from("Cookie", cookie)
	}
	if a, _ := login("wrong-0123456789abcdef", "/"); a.StatusCode != 401 || a.Header.Get("Set-Cookie") != "" {
		t.Errorf("a wrong token: %d %v", a.StatusCode, a.Header)
	}
	a, reader := login(readToken, "/s/gpu")
	cookie := a.Header.Get("Set-Cookie")
	if a.StatusCode != 303 || a.Header.Get("Location") != "/s/gpu" || !strings.Contains(cookie, "HttpOnly") || !strings.Contains(cookie, "SameSite=Strict") || strings.Contains(cookie, readToken) {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	for _, elsewhere := range []string{"//evil.example", `/\evil.example`, "https://evil.example", "/\t/evil.example", "/\n/evil.example"} {
		if a, _ := login(readToken, elsewhere); a.Header.Get("Location") != "/" {
			t.Errorf("after the login it goes to %q", a.Header.Get("Location"))
		}
	}

	if html := s.ask(t, "GET", "/s/gpu", "", reader).must(t, 200, "Read-only").text; strings.Contains(html, "confirm") {
		t.Error("who may only look has buttons")
	}
	s.ask(t, "GET", "/confirm/pause?name=gpu", "", reader).must(t, 404, "")
	s.ask(t, "POST", "/s/gpu/pause", "x=1", reader).must(t, 403, "may look and not act")
	s.ask(t, "POST", "/s/gpu/pause", "x=1").must(t, 401, "")
	s.ask(t, "POST", "/api/v1/semaphores/gpu/pause", "x=1", from("Authorization", "Bearer "+readToken)).must(t, 403, "may look and not act")
	mustNotBePaused(t, m)
	_, actor := login(actToken, "/")
	s.ask(t, "GET", "/s/gpu", "", actor).must(t, 200, "confirm/pause")
	s.ask(t, "POST", "/api/v1/semaphores/gpu/pause", "x=1", from("Authorization", "Bearer "+actToken)).must(t, 200, `"did": "pause"`)
}

func TestABasePathIsPartOfEachAddress(t *testing.T) {
	_, m := fleetOfOne(t)
	s := serve(t, m, Options{BasePath: "leases/", AllowActions: true, Tokens: []Token{{actToken, true}}})
	with := from("Authorization", "Bearer "+actToken)
	list := s.ask(t, "GET", "/leases/", "", with).must(t, 200, `href="/leases/s/gpu"`).text
	if strings.Contains(list, `"/s/`) || strings.Contains(list, `"/assets`) || !strings.Contains(list, `data-stream="/leases/events?"`) {
		t.Errorf("an address without the base path:\n%s", list)
	}
	if a := s.ask(t, "GET", "/leases", "", with); a.StatusCode != 308 || a.Header.Get("Location") != "/leases/" {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	s.ask(t, "GET", "/s/gpu", "", with).must(t, 404, "")
	s.ask(t, "GET", "/leases/s/gpu", "", with).must(t, 200, "/leases/confirm/pause?name=gpu")
	if a := s.ask(t, "POST", "/leases/s/gpu/pause", "x=1", with); !strings.HasPrefix(a.Header.Get("Location"), "/leases/s/gpu?note=") {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
	if a := s.ask(t, "POST", "/leases/login", "to=%2Fs%2Fgpu&token="+actToken); a.Header.Get("Location") != "/leases/s/gpu" || !strings.Contains(a.Header.Get("Set-Cookie"), "Path=/leases/") {
		t.Errorf("%d %v", a.StatusCode, a.Header)
	}
}

func TestWrongOptionsAreRefusedByName(t *testing.T) {
	m := manager(t, redistest.Start(t), "worker/1")
	for want, opts := range map[string]Options{
		"Options.Timeout -1ns":   {Timeout: -1},
		`Options.BasePath "/a?"`: {BasePath: "/a?"},
		"Options.Tokens[1]":      {Tokens: []Token{{readToken, false}, {"short", true}}},
		`Options.Metrics "a}"`:   {Metrics: []string{"a}"}},
	} {
		opts.Logger = slog.New(slog.DiscardHandler)
		if _, err := New(m, opts); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := New(nil, Options{}); err == nil {
		t.Error("no manager")
	}
}

// What cannot be the name of a semaphore is the asker's mistake, and leaves nothing behind.
func TestAnImpossibleNameIsABadRequest(t *testing.T) {
	server := redistest.Start(t)
	s := serve(t, manager(t, server, "page/1"), Options{AllowActions: true})
	long := strings.Repeat("x", 600)
	for _, path := range []string{"/s/a%7Db", "/s/" + long, "/api/v1/semaphores/a%7Db", "/events?name=" + long, "/s/?name=a%0Ab", "/confirm/pause?name=a%7Db"} {
		s.ask(t, "GET", path, "").must(t, 400, "no semaphore of this name")
	}
	s.ask(t, "POST", "/api/v1/semaphores/a%7Db/pause", "").must(t, 400, "")
	s.source.mu.Lock()
	defer s.source.mu.Unlock()
	if n := len(s.source.records); n != 0 {
		t.Errorf("%d names are remembered", n)
	}
	for _, metrics := range [][]string{{"gpu", "gpu"}, {long}, {"a}b"}} {
		if _, err := New(manager(t, server, "page/2"), Options{Metrics: metrics}); err == nil {
			t.Errorf("metrics of %.20q are accepted", metrics)
		}
	}
}
