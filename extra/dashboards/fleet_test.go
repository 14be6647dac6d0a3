package dashboards

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/eqworks/passbuddy/extra/leaseprom"
	"github.com/eqworks/passbuddy/internal/redistest"
	"github.com/eqworks/passbuddy/lease"
)

func TestTheRulesPassTheirUnitTests(t *testing.T) {
	for _, args := range [][]string{{"check", "rules", "passbuddy.rules.yml"}, {"test", "rules", "passbuddy.rules.test.yml"}} {
		if out, err := exec.Command(program(t, "promtool"), args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

// An endpoint is a process of the fleet, which works, and its page for Prometheus.
func endpoint(t *testing.T, addr string, withFleet bool) (target string) {
	t.Helper()
	tracer, registry := leaseprom.New(leaseprom.Options{}), client.NewRegistry()
	registry.MustRegister(tracer)
	m, err := lease.Open("redis://"+addr, lease.Options{Tracers: []lease.Tracer{tracer}, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	gpu, err := m.Semaphore(lease.Config{Name: "gpu", Capacity: 20, TTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if withFleet {
		fleet, err := leaseprom.NewFleet(m, leaseprom.FleetOptions{Semaphores: []*lease.Semaphore{gpu}, Holders: true, Timeout: 200 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		registry.MustRegister(fleet)
	}
	page := httptest.NewServer(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	var working sync.WaitGroup
	working.Go(func() { // holds for as long as it can
		for t.Context().Err() == nil {
			_ = gpu.Do(t.Context(), func(ctx context.Context) error { <-ctx.Done(); return nil })
		}
	})
	working.Go(func() { // holds for a moment
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for t.Context().Err() == nil {
			<-tick.C
			_ = gpu.Do(t.Context(), func(context.Context) error { return nil })
		}
	})
	t.Cleanup(func() {
		page.Close()
		working.Wait()
		_ = m.Close()
	})
	return strings.TrimPrefix(page.URL, "http://")
}

var (
	waitsFor = regexp.MustCompile(`for: \d+[mh]`)
	window   = regexp.MustCompile(`\[\d+m\]`)
)

// quick are the rules of the file, with shorter times.
func quick(rules string) string {
	return window.ReplaceAllString(waitsFor.ReplaceAllString(rules, "for: 900ms"), "[4s]")
}

// A real Prometheus scrapes two processes, whose Redis stops and goes on.
func TestTheAlertsFireWhileRedisHangsAndClearAfterwards(t *testing.T) {
	server := redistest.Start(t)
	p := startPrometheus(t, quick(read(t, "passbuddy.rules.yml")), endpoint(t, server.Addr(), true), endpoint(t, server.Addr(), false))

	for _, panel := range readDashboard(t).Panels {
		for _, target := range panel.Targets {
			expr := strings.NewReplacer("$job", ".*", "$semaphore", ".*", "$__rate_interval", "4s").Replace(target.Expr)
			redistest.Eventually(t, fmt.Sprintf("the panel %q has an answer to %s", panel.Title, expr), func(ctx context.Context) error {
				values, err := p.values(ctx, expr)
				if err == nil && len(values) == 0 {
					err = fmt.Errorf("it has none")
				}
				return err
			})
		}
	}
	p.mustFire(t)

	server.Pause()
	p.mustFire(t, "PassBuddyRenewalsFailing", "PassBuddyLeaseLost", "PassBuddyCollectorDown")
	server.Resume()
	p.mustFire(t)
}

// mustFire waits until these alerts fire; none: until no other does.
func (p *prometheus) mustFire(t *testing.T, want ...string) {
	t.Helper()
	redistest.Eventually(t, fmt.Sprintf("the alerts %q fire", want), func(ctx context.Context) error {
		firing, err := p.firing(ctx)
		if err != nil {
			return err
		}
		for _, alert := range want {
			if !firing[alert] {
				return fmt.Errorf("%s does not, and %v do", alert, firing)
			}
		}
		if len(want) == 0 && len(firing) > 0 {
			return fmt.Errorf("%v do", firing)
		}
		return nil
	})
}
