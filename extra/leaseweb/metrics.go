package leaseweb

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/eqworks/passbuddy/internal/view"
)

// gauges are what Prometheus is told of the fleet. up is told for each; the others where Redis has answered.
var gauges = []struct {
	name, help string
	of         func(view.Semaphore) float64
}{
	{"passbuddy_fleet_permit_limit", "Permits for all processes together.", func(v view.Semaphore) float64 { return float64(v.Capacity) }},
	{"passbuddy_fleet_permit_usage", "Permits that are held.", func(v view.Semaphore) float64 { return float64(v.Held) }},
	{"passbuddy_fleet_waiter_count", "Callers that wait.", func(v view.Semaphore) float64 { return float64(v.Waiting) }},
	{"passbuddy_fleet_waiter_oldest_age_seconds", "For how long the first of the queue has waited; 0: nobody waits.", func(v view.Semaphore) float64 {
		if v.Oldest == nil {
			return 0
		}
		return *v.Oldest
	}},
	{"passbuddy_fleet_paused", "1: an operator has paused it.", func(v view.Semaphore) float64 {
		if v.State == view.Paused {
			return 1
		}
		return 0
	}},
}

// metrics tells Prometheus of the semaphores in Options.Metrics, in its text format, with one look at Redis.
func (h *Handler) metrics(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), h.opts.Timeout)
	defer cancel()
	found, err := h.source.manager.Summaries(ctx, h.opts.Metrics...)
	all := make([]view.Semaphore, len(h.opts.Metrics))
	for i, name := range h.opts.Metrics {
		all[i] = view.Semaphore{Name: name, State: view.Failed}
		if err == nil {
			all[i] = view.OfSummary(found[i])
		}
	}
	var b bytes.Buffer
	head := func(name, help string) {
		b.WriteString("# HELP " + name + " " + help + "\n# TYPE " + name + " gauge\n")
	}
	line := func(name string, v view.Semaphore, value float64) {
		b.WriteString(name + `{passbuddy_semaphore="` + labelValue.Replace(v.Name) + `"} ` + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
	}
	for _, g := range gauges {
		head(g.name, g.help)
		for _, v := range all {
			if v.State != view.Failed {
				line(g.name, v, g.of(v))
			}
		}
	}
	head("passbuddy_fleet_up", "1: Redis has answered for it; 0: the other gauges of it are missing.")
	for _, v := range all {
		up := 1.0
		if v.State == view.Failed {
			up = 0
		}
		line("passbuddy_fleet_up", v, up)
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(b.Bytes())
}

// labelValue escapes a label's value as the format wants it.
var labelValue = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
