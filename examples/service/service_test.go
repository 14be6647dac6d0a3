package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

// serve has a service in virtual time: a Redis inside the test, and no socket.
func serve(t *testing.T, test func(t *testing.T, f *leasetest.Fleet, s *service, get func(path, tenant string) *httptest.ResponseRecorder)) {
	synctest.Test(t, func(t *testing.T) {
		f := leasetest.NewFleet(t)
		s := &service{manager: f.Process("service-1", lease.Options{}).Manager, log: slog.New(slog.DiscardHandler), report: makeReport}
		handler := s.routes(http.NotFoundHandler())
		test(t, f, s, func(path, tenant string) *httptest.ResponseRecorder {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.Header.Set("X-Tenant", tenant)
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			return w
		})
	})
}

// Two at a time: of eight requests two and two more are served within the wait, and the others are told to come again.
func TestEachTenantHasALimitOfItsOwn(t *testing.T) {
	serve(t, func(t *testing.T, _ *leasetest.Fleet, _ *service, get func(string, string) *httptest.ResponseRecorder) {
		var mu sync.Mutex
		answers := map[int]int{}
		var all sync.WaitGroup
		start := time.Now()
		for range 8 {
			all.Go(func() {
				w := get("/v1/report", "acme")
				mu.Lock()
				defer mu.Unlock()
				answers[w.Code]++
				if w.Code == http.StatusTooManyRequests && w.Header().Get("Retry-After") == "" {
					t.Error("429 does not say when to come again")
				}
			})
		}
		synctest.Wait()
		if w := get("/v1/report", "initech"); w.Code != http.StatusOK || time.Since(start) > 300*time.Millisecond {
			t.Errorf("another tenant got %d after %v", w.Code, time.Since(start))
		}
		all.Wait()
		if answers[http.StatusOK] != 6 || answers[http.StatusTooManyRequests] != 2 {
			t.Errorf("answers by status: %v", answers)
		}
		if w := get("/v1/report", "ACME}"); w.Code != http.StatusBadRequest {
			t.Errorf("a name that is none: %d", w.Code)
		}
	})
}

func TestAReportStopsWhenItsPermitIsLost(t *testing.T) {
	serve(t, func(t *testing.T, _ *leasetest.Fleet, s *service, get func(string, string) *httptest.ResponseRecorder) {
		s.report = func(ctx context.Context, _ string) (any, error) {
			leasetest.Lose(lease.FromContext(ctx))
			<-ctx.Done()
			return nil, ctx.Err()
		}
		if w := get("/v1/report", "acme"); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %v: %s", w.Code, w.Header(), w.Body)
		}
	})
}

func TestReadyFollowsRedisAndTheDrain(t *testing.T) {
	serve(t, func(t *testing.T, f *leasetest.Fleet, s *service, get func(string, string) *httptest.ResponseRecorder) {
		want := func(status int, text string) {
			t.Helper()
			if w := get("/readyz", ""); w.Code != status || !strings.Contains(w.Body.String(), text) {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, status, text)
			}
		}
		want(http.StatusNoContent, "")
		f.Stall()
		want(http.StatusServiceUnavailable, "Redis does not answer")
		f.Resume()
		want(http.StatusNoContent, "")

		// A request is under way when SIGTERM comes.
		began, end := make(chan struct{}), make(chan struct{})
		s.report = func(context.Context, string) (any, error) { close(began); <-end; return "done", nil }
		var request sync.WaitGroup
		request.Go(func() {
			if w := get("/v1/report", "acme"); w.Code != http.StatusOK {
				t.Errorf("the request under way got %d", w.Code)
			}
		})
		<-began
		down := make(chan error, 1)
		go func() { down <- s.shutdown(&http.Server{}) }()
		synctest.Wait()
		want(http.StatusServiceUnavailable, "draining")
		if len(down) > 0 {
			t.Error("shut down before the request had ended")
		}
		close(end)
		request.Wait()
		if err := <-down; err != nil {
			t.Error(err)
		}
		other := f.Process("service-2", lease.Options{})
		state, err := other.Inspect(t.Context(), "report-acme")
		if err != nil || state.Held != 0 {
			t.Errorf("after the shutdown %+v are held, %v", state, err)
		}
	})
}
