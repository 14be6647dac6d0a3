package leaseweb

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/internal/view"
	"github.com/eqworks/passbuddy/lease"
)

func decode[T any](t *testing.T, a answer) (v T) {
	t.Helper()
	if a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("Content-Type %q", a.Header.Get("Content-Type"))
	}
	if err := json.Unmarshal([]byte(a.text), &v); err != nil {
		t.Fatalf("%v:\n%s", err, a.text)
	}
	return v
}

func TestTheJSONIsThatOfTheCommands(t *testing.T) {
	server, m := fleetOfOne(t)
	full := semaphore(t, m, lease.Config{Name: "a/b full?", Capacity: 1})
	hold(t, full, lease.Label("work"))
	queue(t, full)
	s := serve(t, m, Options{})
	list := decode[view.List](t, s.ask(t, "GET", "/api/v1/semaphores?sort=wait", "").must(t, 200, ""))
	if list.Schema != 1 || list.Found != 2 || list.Semaphores[0].Name != "a/b full?" || list.Semaphores[0].Waiting != 1 || list.Semaphores[1].Held != 1 {
		t.Errorf("%+v", list)
	}
	if list := decode[view.List](t, s.ask(t, "GET", "/api/v1/semaphores?limit=1&pattern=g*", "")); list.Found != 1 || list.Semaphores[0].Name != "gpu" {
		t.Errorf("%+v", list)
	}
	one := decode[view.Detail](t, s.ask(t, "GET", "/api/v1/semaphores/a%2Fb%20full%3F", "").must(t, 200, ""))
	if one.Name != "a/b full?" || one.Leases != 1 || one.Queue != 1 || one.Holders[0].Label != "work" || one.Waiters[0].Place != 1 || one.Processes[0].Callers != 1 {
		t.Errorf("%+v", one)
	}
	if list := decode[view.List](t, s.ask(t, "GET", "/api/v1/semaphores?pattern=none*", "").must(t, 200, "")); list.Found != 0 || list.Semaphores == nil {
		t.Errorf("%+v", list)
	}
	s.ask(t, "GET", "/api/v1/semaphores/none", "").must(t, 404, "there is no semaphore")
	s.ask(t, "GET", "/api/v1/semaphores?sort=age", "").must(t, 400, `sort \"age\"`)
	s.ask(t, "GET", "/api/v1/semaphores?limit=-1", "").must(t, 400, "limit")
	s.ask(t, "GET", "/api/v1/semaphores?pattern=[", "").must(t, 400, "pattern")
	server.Kill()
	redistest.Eventually(t, "the JSON says that Redis does not answer", failing(s, t, "/api/v1/semaphores/gpu"))
	redistest.Eventually(t, "the list says so too", failing(s, t, "/api/v1/semaphores"))
	redistest.Eventually(t, "it is not ready", failing(s, t, "/readyz"))
	s.ask(t, "GET", "/healthz", "").must(t, 200, "ok")
}

func TestPrometheusIsToldOfTheFleet(t *testing.T) {
	server, m := fleetOfOne(t)
	if err := m.Pause(t.Context(), `o"dd\name`); err != nil {
		t.Fatal(err)
	}
	s := serve(t, m, Options{Metrics: []string{"gpu", `o"dd\name`}})
	text := s.ask(t, "GET", "/metrics", "").must(t, 200, "# TYPE passbuddy_fleet_permit_limit gauge\n").text
	for _, line := range []string{
		`passbuddy_fleet_permit_limit{passbuddy_semaphore="gpu"} 2`, `passbuddy_fleet_permit_usage{passbuddy_semaphore="gpu"} 1`,
		`passbuddy_fleet_waiter_count{passbuddy_semaphore="gpu"} 0`, `passbuddy_fleet_waiter_oldest_age_seconds{passbuddy_semaphore="gpu"} 0`,
		`passbuddy_fleet_paused{passbuddy_semaphore="gpu"} 0`, `passbuddy_fleet_paused{passbuddy_semaphore="o\"dd\\name"} 1`,
		`passbuddy_fleet_up{passbuddy_semaphore="gpu"} 1`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("there is no %s in\n%s", line, text)
		}
	}
	serve(t, m, Options{}).ask(t, "GET", "/metrics", "").must(t, 404, "")
	server.Kill()
	gone := s.ask(t, "GET", "/metrics", "").must(t, 200, `passbuddy_fleet_up{passbuddy_semaphore="gpu"} 0`).text
	if strings.Contains(gone, "permit_usage{") {
		t.Errorf("a server that is gone has counts:\n%s", gone)
	}
}

// failing is a condition: the address answers 503.
func failing(s *site, t *testing.T, path string) func(context.Context) error {
	return func(context.Context) error {
		if a := s.ask(t, "GET", path, ""); a.StatusCode != 503 {
			return fmt.Errorf("%s: %d", path, a.StatusCode)
		}
		return nil
	}
}
