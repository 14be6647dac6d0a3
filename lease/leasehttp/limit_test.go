package leasehttp_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasehttp"
	"github.com/eqworks/passbuddy/lease/leasetest"
)

type anyKey struct{}

func TestARequestRunsUnderALeaseOfItsOwn(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 2)
		var leases []*lease.Lease
		var writer http.ResponseWriter
		h := leasehttp.Limit(s, leasehttp.Options{})(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			l := lease.FromContext(r.Context())
			leases = append(leases, l)
			writer = rw
			if !l.Valid() || r.Context().Value(anyKey{}) != "v" || w.permits() != 1 {
				w.Error("not under a lease below the request's context")
			}
			_, _ = io.WriteString(rw, "done")
		}))
		for range 2 {
			rec := serve(h, context.WithValue(context.Background(), anyKey{}, "v"))
			if rec.Code != 200 || rec.Body.String() != "done" {
				w.Errorf("answered %d %q", rec.Code, rec.Body)
			}
			if writer != http.ResponseWriter(rec) {
				w.Error("the ResponseWriter was wrapped")
			}
			synctest.Wait()
			if n := w.permits(); n != 0 {
				w.Errorf("%d permits after the response", n)
			}
		}
		if leases[0] == leases[1] {
			w.Error("two requests had one lease")
		}
	})
}

func TestARequestsContextEndsWhenItsLeaseIsLost(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 2)
		handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			child, cancel := context.WithCancel(r.Context())
			defer cancel()
			leasetest.Lose(lease.FromContext(r.Context()))
			if child.Err() == nil || !errors.Is(context.Cause(child), lease.ErrLost) {
				w.Errorf("cause %v", context.Cause(child))
			}
		})
		serve(leasehttp.Limit(s, leasehttp.Options{})(handler), context.Background())
		serve(leasehttp.Share(s.Permit(), leasehttp.ShareOptions{AcquireOnStart: true})(handler), context.Background())
		synctest.Wait()
		if n := w.permits(); n != 0 {
			w.Errorf("%d permits were left by handlers that lost them", n)
		}
	})
}

func TestTheSemaphoreOfARequestIsPicked(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		unknown := errors.New("unknown tenant, secret")
		pick := func(r *http.Request) (*lease.Semaphore, error) {
			switch tenant := r.URL.Query().Get("tenant"); tenant {
			case "":
				return nil, nil
			case "?":
				return nil, unknown
			default:
				return m.Semaphore(lease.Config{Name: "tenant-" + tenant, Capacity: 1})
			}
		}
		var under string
		handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			under = "nothing"
			if l := lease.FromContext(r.Context()); l != nil {
				under = l.Name()
			}
		})
		h := leasehttp.LimitBy(pick, leasehttp.Options{})(handler)
		for _, tc := range []struct {
			query, under string
			code         int
		}{{"?tenant=a", "tenant-a", 200}, {"?tenant=b", "tenant-b", 200}, {"", "nothing", 200}, {"?tenant=%3F", "", 500}} {
			under = ""
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/"+tc.query, nil))
			if under != tc.under || rec.Code != tc.code || strings.Contains(rec.Body.String(), "secret") {
				w.Errorf("%q ran under %q and answered %d %q", tc.query, under, rec.Code, rec.Body)
			}
		}
		h = leasehttp.LimitBy(pick, leasehttp.Options{OnError: func(rw http.ResponseWriter, _ *http.Request, err error, _ http.Handler) {
			if errors.Is(err, unknown) {
				rw.WriteHeader(http.StatusNotFound)
			}
		}})(handler)
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/?tenant=%3F", nil))
		if rec.Code != http.StatusNotFound {
			w.Errorf("answered %d", rec.Code)
		}
	})
}

func TestAPanicOfAHandlerGivesThePermitBack(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 2)
		for _, v := range []any{"oh", http.ErrAbortHandler} {
			bad := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(v) })
			for _, h := range []http.Handler{
				leasehttp.Limit(s, leasehttp.Options{})(bad),
				leasehttp.Share(s.Permit(), leasehttp.ShareOptions{AcquireOnStart: true})(bad),
			} {
				func() {
					defer func() {
						if got := recover(); got != v {
							w.Errorf("the panic became %v", got)
						}
					}()
					serve(h, context.Background())
				}()
				synctest.Wait()
				if n := w.permits(); n != 0 {
					w.Errorf("%d permits are left", n)
				}
			}
		}
	})
}

func TestAResponseIsNotHeldUpByRedis(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 3)
		stall := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { w.net.Stall() })
		for _, h := range []http.Handler{
			leasehttp.Limit(s, leasehttp.Options{})(stall),
			leasehttp.Share(s.Permit(), leasehttp.ShareOptions{AcquireOnStart: true})(stall),
		} {
			start := time.Now()
			serve(h, context.Background())
			if d := time.Since(start); d != 0 {
				w.Errorf("the response waited %v for Redis", d)
			}
			w.net.Resume()
			time.Sleep(worldTTL / 4)
			if n := w.permits(); n != 0 {
				w.Errorf("%d permits did not go back", n)
			}
		}
	})
}
