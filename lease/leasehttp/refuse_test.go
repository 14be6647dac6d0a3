package leasehttp_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/eqworks/passbuddy/lease"
	"github.com/eqworks/passbuddy/lease/leasehttp"
)

func TestAnswersToRequestsWithoutAPermit(t *testing.T) {
	type options = leasehttp.Options
	for _, tc := range []struct {
		name    string
		opts    options
		config  func(*lease.Config)
		trouble func(*world, *lease.Manager)
		waits   time.Duration
		code    int
		retry   string
	}{
		{"by default", options{}, nil, nil, 5 * time.Second, 503, "1"},
		{"the Config's bound", options{}, func(c *lease.Config) { c.MaxWait = time.Second }, nil, time.Second, 503, "1"},
		{"a bound of its own", options{MaxWait: 2 * time.Second, Status: 429}, func(c *lease.Config) { c.MaxWait = time.Second }, nil, 2 * time.Second, 429, "1"},
		{"one attempt", options{MaxWait: -1}, nil, nil, 0, 503, "1"},
		{"a long interval", options{MaxWait: -1}, func(c *lease.Config) { c.TTL, c.RetryInterval = time.Minute, 19*time.Second+1 }, nil, 0, 503, "20"},
		{"the manager is closed", options{Status: 429}, nil, func(_ *world, m *lease.Manager) { _ = m.Close() }, 0, 503, ""},
	} {
		for _, kind := range []string{"a permit per request", "a shared permit"} {
			t.Run(tc.name+"/"+kind, func(t *testing.T) {
				inAnHour(t, func(w *world) {
					m, _ := w.process("p")
					other, _ := w.process("q")
					change := func(c *lease.Config) {
						if tc.config != nil {
							tc.config(c)
						}
					}
					defer w.acquire(w.semaphore(other, 1, change)).Release()
					s := w.semaphore(m, 1, change)
					around := leasehttp.Limit(s, tc.opts)
					if kind == "a shared permit" {
						around = leasehttp.Share(s.Permit(), leasehttp.ShareOptions{Options: tc.opts, AcquireOnStart: true})
					}
					if tc.trouble != nil {
						tc.trouble(w, m)
					}
					h := around(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { w.Error("the handler ran") }))
					start := time.Now()
					rec := serve(h, context.Background())
					if d := time.Since(start); d != tc.waits {
						w.Errorf("waited %v, want %v", d, tc.waits)
					}
					if rec.Code != tc.code || rec.Header().Get("Retry-After") != tc.retry {
						w.Errorf("answered %d, Retry-After %q; want %d, %q", rec.Code, rec.Header().Get("Retry-After"), tc.code, tc.retry)
					}
				})
			})
		}
	}
	t.Run("Redis is out of reach", func(t *testing.T) {
		inAnHour(t, func(w *world) {
			m, host := w.process("p")
			host.Refuse()
			h := leasehttp.Limit(w.semaphore(m, 1), options{Status: 429})(http.NotFoundHandler())
			for range 2 {
				rec := serve(h, context.Background())
				if rec.Code != 503 || strings.Contains(rec.Body.String(), "refused") || rec.Header().Get("Retry-After") != "" {
					w.Errorf("answered %d %q", rec.Code, rec.Body)
				}
			}
			if n := strings.Count(w.log.String(), "requests are refused"); n != 1 {
				w.Errorf("logged %d times, want once: %s", n, w.log)
			}
			host.Heal()
		})
	})
	t.Run("an answer of one's own", func(t *testing.T) {
		inAnHour(t, func(w *world) {
			m, _ := w.process("p")
			s := w.semaphore(m, 1)
			defer w.acquire(s).Release()
			h := leasehttp.Limit(s, options{MaxWait: -1, OnError: func(rw http.ResponseWriter, _ *http.Request, err error, _ http.Handler) {
				if !errors.Is(err, lease.ErrAtCapacity) {
					w.Error(err)
				}
				rw.WriteHeader(http.StatusTeapot)
			}})(http.NotFoundHandler())
			if rec := serve(h, context.Background()); rec.Code != http.StatusTeapot {
				w.Errorf("answered %d", rec.Code)
			}
		})
	})
}

// An outer timeout middleware, a server's BaseContext, a client that has gone away: whichever ended the request, its
// handler did not run, and no answer would be 200 OK.
func TestARequestThatEndsWhileItWaitsIsRefused(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		other, _ := w.process("q")
		taken := w.acquire(w.semaphore(other, 1))
		s := w.semaphore(m, 1)
		never := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { w.Error("the handler ran") })
		var told []error
		refuse := func(rw http.ResponseWriter, _ *http.Request, err error, _ http.Handler) {
			told = append(told, err)
			rw.WriteHeader(http.StatusTeapot)
		}
		for _, tc := range []struct {
			name string
			h    http.Handler
			code int
		}{
			{"a permit per request", leasehttp.Limit(s, leasehttp.Options{})(never), 503},
			{"a shared permit", leasehttp.Share(s.Permit(), leasehttp.ShareOptions{AcquireOnStart: true})(never), 503},
			{"an answer of one's own", leasehttp.Limit(s, leasehttp.Options{OnError: refuse})(never), http.StatusTeapot},
		} {
			cancelled, cancel := context.WithCancel(context.Background())
			time.AfterFunc(time.Second, cancel)
			if rec := serve(tc.h, cancelled); rec.Code != tc.code {
				w.Errorf("%s, cancelled: answered %d", tc.name, rec.Code)
			}
			late, cancel := context.WithTimeout(context.Background(), time.Second)
			if rec := serve(tc.h, late); rec.Code != tc.code {
				w.Errorf("%s, timed out: answered %d", tc.name, rec.Code)
			}
			cancel()
		}
		if len(told) != 2 || !errors.Is(told[0], context.Canceled) || !errors.Is(told[1], context.DeadlineExceeded) {
			w.Errorf("OnError was told %v", told)
		}
		_ = taken.Release()
		time.Sleep(worldTTL)
		if n := w.permits(); n != 0 {
			w.Errorf("%d permits leaked", n)
		}
	})
}

// The permit comes, and the request has ended at that very moment.
func TestARequestThatEndsWhenItsPermitComesIsRefused(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, _ := w.process("p")
		s := w.semaphore(m, 1)
		never := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { w.Error("the handler ran") })
		p := s.Permit()
		if err := p.Acquire(context.Background()); err != nil {
			w.Fatal(err)
		}
		ended, cancel := context.WithCancel(context.Background())
		cancel()
		for name, h := range map[string]http.Handler{
			"a permit per request": leasehttp.Limit(s, leasehttp.Options{})(never),
			"a shared permit":      leasehttp.Share(p, leasehttp.ShareOptions{AcquireOnStart: true})(never),
		} {
			if rec := serve(h, ended); rec.Code != 503 {
				w.Errorf("%s: answered %d", name, rec.Code)
			}
		}
	})
}

// A limit that the service must not depend on: where Redis is out of reach, the handler runs without a permit; where
// every permit is taken, the request is refused all the same.
func TestOnErrorMayRunTheHandlerWithoutAPermit(t *testing.T) {
	inAnHour(t, func(w *world) {
		m, host := w.process("p")
		s := w.semaphore(m, 1)
		ran := 0
		h := leasehttp.Limit(s, leasehttp.Options{MaxWait: time.Second, OnError: func(rw http.ResponseWriter, r *http.Request, err error, next http.Handler) {
			var trouble *lease.RedisError
			if errors.As(err, &trouble) {
				next.ServeHTTP(rw, r)
				return
			}
			rw.WriteHeader(http.StatusTooManyRequests)
		}})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			ran++
			if lease.FromContext(r.Context()) != nil {
				w.Error("the handler has a lease")
			}
		}))
		taken := w.acquire(s)
		if rec := serve(h, context.Background()); rec.Code != http.StatusTooManyRequests || ran != 0 {
			w.Errorf("at capacity: answered %d, ran %d times", rec.Code, ran)
		}
		time.Sleep(worldTTL)
		host.Partition()
		if rec := serve(h, context.Background()); rec.Code != http.StatusOK || ran != 1 {
			w.Errorf("without Redis: answered %d, ran %d times", rec.Code, ran)
		}
		host.Heal()
		_ = taken.Release()
	})
}
