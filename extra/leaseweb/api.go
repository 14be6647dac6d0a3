package leaseweb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/eqworks/passbuddy/internal/view"
)

// What follows is for programs: the JSON that the command line prints.

// apiListed is how many holders and waiters the JSON of one semaphore has, as with the command.
const apiListed = 100

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(v) // fails where the client has gone
}

func apiError(w http.ResponseWriter, status int, format string, args ...any) {
	writeJSON(w, status, struct {
		Schema int    `json:"schema"`
		Error  string `json:"error"`
	}{view.Schema, fmt.Sprintf(format, args...)})
}

// apiList is `passbuddy ls --json`: ?pattern= as its argument, ?sort= and ?limit= as its options.
func (h *Handler) apiList(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	pattern := q.Get("pattern")
	if pattern == "" {
		pattern = "*"
	}
	order, known := view.Orders[q.Get("sort")]
	if q.Get("sort") == "" {
		order, known = view.Orders["name"], true
	}
	limit, err := strconv.Atoi("0" + q.Get("limit"))
	_, badPattern := view.Match(pattern, "")
	switch {
	case badPattern != nil:
		apiError(w, http.StatusBadRequest, "pattern %q: %v", pattern, badPattern)
		return
	case !known:
		apiError(w, http.StatusBadRequest, "sort %q: name, held, wait, or expiry", q.Get("sort"))
		return
	case err != nil:
		apiError(w, http.StatusBadRequest, "limit %q: a whole number from 0 on", q.Get("limit"))
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.opts.Timeout)
	defer cancel()
	all, err := h.source.all(ctx, func(name string) bool { ok, _ := view.Match(pattern, name); return ok })
	if err != nil {
		apiError(w, http.StatusServiceUnavailable, "%v", err)
		return
	}
	slices.SortFunc(all, order)
	list := view.List{Schema: view.Schema, Semaphores: all, Found: len(all)}
	if limit > 0 && len(all) > limit {
		list.Semaphores = all[:limit]
	}
	writeJSON(w, http.StatusOK, list)
}

// all sums up the semaphores whose names fit.
func (s *source) all(ctx context.Context, fits func(string) bool) ([]view.Semaphore, error) {
	s.lookForNames(ctx)
	s.mu.Lock()
	names := slices.DeleteFunc(slices.Clone(s.names), func(name string) bool { return !fits(name) })
	s.mu.Unlock()
	if s.lookAt(ctx, names); len(names) == 0 {
		s.lookAt(ctx, []string{readyName})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.trouble(s.scan.known, s.seen, s.failure); err != nil {
		return nil, err
	}
	all := make([]view.Semaphore, len(names))
	for i, name := range names {
		all[i] = s.record(name).summary
	}
	return all, nil
}

// trouble is why what is known is too old for a program.
func (s *source) trouble(known bool, seen time.Time, failure error) error {
	switch {
	case failure != nil:
		return failure
	case !known || time.Since(seen) > slow:
		return errors.New("no answer of Redis in time; try again")
	}
	return nil
}

// apiOne is `passbuddy inspect --json`: with ?all=true all holders and waiters.
func (h *Handler) apiOne(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	ctx, cancel := context.WithTimeout(r.Context(), h.opts.Timeout)
	defer cancel()
	s := h.source
	s.lookInto(ctx, name)
	s.mu.Lock()
	one := s.record(name)
	state, err := one.state, s.trouble(one.state != nil, one.stateAt, one.stateErr)
	s.mu.Unlock()
	if err != nil {
		apiError(w, http.StatusServiceUnavailable, "%v", err)
		return
	}
	atMost := apiListed
	if r.FormValue("all") == "true" {
		atMost = len(state.Holders) + len(state.Waiters)
	}
	d := view.OfState(state, atMost) // nobody changes a state
	if !d.Known {
		apiError(w, http.StatusNotFound, "there is no semaphore %q", name)
		return
	}
	writeJSON(w, http.StatusOK, d)
}

// apiAct is what `passbuddy pause --json` and the like print; the fields are a form's.
func (h *Handler) apiAct(w http.ResponseWriter, r *http.Request) {
	a, o := h.carryOut(w, r)
	if o.status != http.StatusOK {
		apiError(w, o.status, "%s", o.text)
		return
	}
	writeJSON(w, http.StatusOK, struct {
		Schema int    `json:"schema"`
		Name   string `json:"name"`
		Did    string `json:"did"`
		Before int    `json:"capacity_before"`
		After  int    `json:"capacity_after"`
		Text   string `json:"text"`
	}{view.Schema, a.name, a.verb, o.before.Capacity, o.after.Capacity, o.text})
}

// healthz says that this process serves.
func (h *Handler) healthz(w http.ResponseWriter, _ *http.Request) {
	writeText(w, http.StatusOK, "ok\n")
}

// readyz says whether Redis answers. However often it is asked, it asks Redis four times a second at most.
func (h *Handler) readyz(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patienceForTurn)
	defer cancel()
	if err := h.source.ready(ctx); err != nil {
		writeText(w, http.StatusServiceUnavailable, "Redis does not answer\n") // why is for those who may look
		return
	}
	writeText(w, http.StatusOK, "ready\n")
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}
