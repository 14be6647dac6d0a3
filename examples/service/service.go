package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasehttp"
)

// A service makes reports, a few at a time for each tenant.
type service struct {
	manager *lease.Manager
	log     *slog.Logger
	report  func(ctx context.Context, tenant string) (any, error)

	draining atomic.Bool
}

const (
	perTenant = 2 // reports at a time, over all instances of the service
	maxWait   = 500 * time.Millisecond
)

// tenantName is what a tenant may be called: part of a key in Redis.
var tenantName = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// boundedName keeps tenants out of metrics, of which each name makes more.
func boundedName(name string) string { return "report" }

func (s *service) routes(metrics http.Handler) http.Handler {
	limit := leasehttp.LimitBy(func(r *http.Request) (*lease.Semaphore, error) {
		return s.manager.Semaphore(lease.Config{Name: "report-" + r.Header.Get("X-Tenant"), Capacity: perTenant})
	}, leasehttp.Options{MaxWait: maxWait, Status: http.StatusTooManyRequests})
	mux := http.NewServeMux()
	mux.Handle("GET /v1/report", known(limit(http.HandlerFunc(s.makeReport))))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", metrics)
	return mux
}

// known refuses a request before it takes a permit.
func known(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !tenantName.MatchString(r.Header.Get("X-Tenant")) {
			http.Error(w, "X-Tenant: say who you are, in small letters, digits and hyphens", http.StatusBadRequest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// makeReport works under the request's lease: its context ends with the lease, and when the client goes away.
func (s *service) makeReport(w http.ResponseWriter, r *http.Request) {
	tenant, l := r.Header.Get("X-Tenant"), lease.FromContext(r.Context())
	report, err := s.report(r.Context(), tenant)
	switch {
	case errors.Is(l.Err(), lease.ErrLost):
		s.log.ErrorContext(r.Context(), "stopped a report: its permit was lost", "tenant", tenant, "err", l.Err())
		w.Header().Set("Retry-After", "1")
		http.Error(w, "the report was stopped, try again", http.StatusServiceUnavailable)
	case r.Context().Err() != nil: // the client has gone away
	case err != nil:
		s.log.ErrorContext(r.Context(), "a report failed", "tenant", tenant, "err", err)
		http.Error(w, "the report failed", http.StatusInternalServerError)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(report)
	}
}

// ready says whether requests should come here: Redis answers, and the service is not about to end.
func (s *service) ready(w http.ResponseWriter, r *http.Request) {
	if s.draining.Load() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Second)
	defer cancel()
	if err := s.manager.Ping(ctx); err != nil {
		s.log.WarnContext(r.Context(), "not ready", "err", err)
		http.Error(w, "Redis does not answer", http.StatusServiceUnavailable)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// shutdown lets requests finish, and then sees that their permits have gone back.
func (s *service) shutdown(server *http.Server) error {
	s.draining.Store(true)
	s.log.Info("draining", "at_most", drain.String())
	ctx, cancel := context.WithTimeout(context.Background(), drain)
	defer cancel()
	return errors.Join(server.Shutdown(ctx), s.manager.Shutdown(ctx))
}

// makeReport is the work, of a fifth of a second.
func makeReport(ctx context.Context, tenant string) (any, error) {
	select {
	case <-time.After(200 * time.Millisecond):
		return map[string]any{"tenant": tenant, "token": lease.FromContext(ctx).Token()}, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}
